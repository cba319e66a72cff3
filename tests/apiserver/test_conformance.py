"""What both API servers, the real one and the fake, say of reading, watching and deleting.

Every test runs twice. What the fake cannot do is not here, and is listed in tests/support/README.md.
Writes are compared answer by answer in test_same_answers.py.
"""

import asyncio
from typing import Any

import pytest

from support.door import Door, Reply
from support.widgets import GLOBES, WIDGETS, config, widget

CONFIGS = "/api/v1/namespaces/{ns}/configmaps"
PARTIAL = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
PARTIAL_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"


def names(reply: Reply) -> list[str]:
    return [item["metadata"]["name"] for item in reply.body["items"]]


async def make(api: Door, *given: str, **labels: str) -> list[str]:
    """ConfigMaps of these names. Returns their resource versions."""
    made = [await api.create(CONFIGS, config(name, {"labels": labels} if labels else None, a="b")) for name in given]
    return [reply["metadata.resourceVersion"] for reply in made]


# --- list ------------------------------------------------------------------------------------------------------


async def test_pages_show_one_moment(api: Door) -> None:
    await make(api, "a", "b", "c", "d", "e")
    first = await api.get(CONFIGS, limit=2)
    await api.delete(f"{CONFIGS}/c")
    await api.merge(f"{CONFIGS}/d", {"data": {"a": "changed"}})
    await make(api, "cc", "f")
    second = await api.get(CONFIGS, limit=2, continue_=first["metadata.continue"])
    third = await api.get(CONFIGS, limit=2, continue_=second["metadata.continue"])
    assert [names(page) for page in (first, second, third)] == [["a", "b"], ["c", "d"], ["e"]]
    assert second.body["items"][1]["data"] == {"a": "b"}
    versions = {page["metadata.resourceVersion"] for page in (first, second, third)}
    assert len(versions) == 1
    assert third["metadata.continue"] is None
    assert first["metadata.remainingItemCount"] == 3


async def test_pages_with_a_selector_do_not_say_how_many_remain(api: Door) -> None:
    await make(api, "a", "b", "c", x="1")
    page = await api.get(CONFIGS, limit=1, labelSelector="x=1")
    assert names(page) == ["a"]
    assert page["metadata.remainingItemCount"] is None
    assert page["metadata.continue"]


async def test_a_list_is_sorted_by_namespace_and_name(api: Door) -> None:
    await make(api, "b", "a-b", "a", "a.b")
    assert names(await api.get(CONFIGS)) == ["a", "a-b", "a.b", "b"]


async def test_lists_of_built_in_kinds_leave_kind_out_and_lists_of_custom_ones_do_not(api: Door) -> None:
    await make(api, "a")
    await api.create(WIDGETS, widget("a"))
    configs, widgets = await api.get(CONFIGS), await api.get(WIDGETS)
    assert (configs["kind"], widgets["kind"]) == ("ConfigMapList", "WidgetList")
    assert "kind" not in configs.body["items"][0]
    assert widgets.body["items"][0]["kind"] == "Widget"


async def test_a_list_over_all_namespaces(api: Door) -> None:
    await api.create(WIDGETS, widget("a", {"labels": {"of": api.namespace}}))
    everywhere = WIDGETS.replace("/namespaces/{ns}", "")
    found = await api.get(everywhere, labelSelector=f"of={api.namespace}")
    assert [item["metadata"]["namespace"] for item in found.body["items"]] == [api.namespace]


async def test_a_moment_to_come_cannot_be_listed(api: Door) -> None:
    reply = await api.get(CONFIGS, resourceVersion=10**9, resourceVersionMatch="NotOlderThan")
    assert (reply.status, reply["reason"]) == (504, "Timeout")
    assert reply["details.causes"][0]["reason"] == "ResourceVersionTooLarge"
    assert reply["details.retryAfterSeconds"] == 1


async def test_metadata_alone(api: Door) -> None:
    await make(api, "a", x="1")
    one = await api.ask("GET", f"{CONFIGS}/a", accept=PARTIAL)
    many = await api.ask("GET", CONFIGS, accept=PARTIAL_LIST)
    assert (one["kind"], one["apiVersion"]) == ("PartialObjectMetadata", "meta.k8s.io/v1")
    assert one["metadata.labels"] == {"x": "1"}
    assert set(one.body) == {"kind", "apiVersion", "metadata"}
    assert (many["kind"], many["apiVersion"]) == ("PartialObjectMetadataList", "meta.k8s.io/v1")
    assert many.body["items"][0]["metadata"]["name"] == "a"
    assert many.body["items"][0]["kind"] == "PartialObjectMetadata"


async def test_metadata_of_a_written_object(api: Door) -> None:
    reply = await api.ask("POST", CONFIGS, config("a", x="1"), accept=PARTIAL)
    assert (reply.status, reply["kind"]) == (201, "PartialObjectMetadata")
    assert "data" not in reply.body


# --- watch -----------------------------------------------------------------------------------------------------


async def test_a_watch_goes_on_from_a_list(api: Door) -> None:
    await make(api, "a")
    since = (await api.get(CONFIGS))["metadata.resourceVersion"]
    await make(api, "b")
    async with api.watch(CONFIGS, resourceVersion=since) as watch:
        assert await watch.take(1) == [("ADDED", "b")]
        await api.merge(f"{CONFIGS}/a", {"data": {"x": "1"}})
        await api.delete(f"{CONFIGS}/b")
        assert await watch.take(2) == [("MODIFIED", "a"), ("DELETED", "b")]
        assert await watch.silent()


async def test_events_carry_kind_and_the_version_of_the_change(api: Door) -> None:
    since = (await api.get(CONFIGS))["metadata.resourceVersion"]
    async with api.watch(CONFIGS, resourceVersion=since) as watch:
        (version,) = await make(api, "a")
        event: Any = await watch.next()
        assert (event["object"]["kind"], event["object"]["apiVersion"]) == ("ConfigMap", "v1")
        assert event["object"]["metadata"]["resourceVersion"] == version
        await api.delete(f"{CONFIGS}/a")
        event = await watch.next()
        assert int(event["object"]["metadata"]["resourceVersion"]) > int(version)
        assert event["object"]["data"] == {"a": "b"}


@pytest.mark.parametrize("version", ["", "0"])
async def test_a_watch_from_nowhere_starts_with_what_is_there(api: Door, version: str) -> None:
    await make(api, "a", "b")
    async with api.watch(CONFIGS, resourceVersion=version) as watch:
        assert sorted(await watch.take(2)) == [("ADDED", "a"), ("ADDED", "b")]
        await make(api, "c")
        assert await watch.take(1) == [("ADDED", "c")]


async def test_a_write_that_changes_nothing_tells_nobody(api: Door) -> None:
    (version,) = await make(api, "a")
    async with api.watch(CONFIGS, resourceVersion=version) as watch:
        for _ in range(2):
            reply = await api.merge(f"{CONFIGS}/a", {"data": {"a": "b"}})
            assert reply["metadata.resourceVersion"] == version
        assert await watch.silent()


async def test_a_selector_turns_changes_into_comings_and_goings(api: Door) -> None:
    await make(api, "a", x="1")
    (since,) = await make(api, "b", x="2")
    async with api.watch(CONFIGS, resourceVersion=since, labelSelector="x=1") as watch:
        await api.merge(f"{CONFIGS}/b", {"metadata": {"labels": {"x": "1"}}})
        await api.merge(f"{CONFIGS}/b", {"data": {"y": "1"}})
        await api.merge(f"{CONFIGS}/a", {"metadata": {"labels": {"x": "2"}}})
        await api.delete(f"{CONFIGS}/a")
        assert await watch.take(3) == [("ADDED", "b"), ("MODIFIED", "b"), ("DELETED", "a")]
        assert await watch.silent()


async def test_a_watch_of_one_object(api: Door) -> None:
    since = (await make(api, "a", "b"))[-1]
    async with api.watch(CONFIGS, resourceVersion=since, fieldSelector="metadata.name=a") as watch:
        await api.merge(f"{CONFIGS}/b", {"data": {"x": "1"}})
        await api.merge(f"{CONFIGS}/a", {"data": {"x": "1"}})
        assert await watch.take(1) == [("MODIFIED", "a")]


async def test_a_watch_of_metadata(api: Door) -> None:
    since = (await api.get(CONFIGS))["metadata.resourceVersion"]
    async with api.watch(CONFIGS, resourceVersion=since, accept=PARTIAL) as watch:
        await make(api, "a", x="1")
        event: Any = await watch.next()
    assert event["object"]["kind"] == "PartialObjectMetadata"
    assert event["object"]["metadata"]["labels"] == {"x": "1"}
    assert "data" not in event["object"]


async def test_a_watch_ends_when_its_time_is_over(api: Door) -> None:
    async with api.watch(CONFIGS, resourceVersion="0", timeoutSeconds=1) as watch:
        assert watch.status == 200
        assert await watch.next(5) is None


async def test_initial_events_end_with_a_bookmark(api: Door) -> None:
    await make(api, "a", "b")
    query = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan", "allowWatchBookmarks": "true"}
    async with api.watch(CONFIGS, **query) as watch:
        assert sorted(await watch.take(2)) == [("ADDED", "a"), ("ADDED", "b")]
        event: Any = await watch.next()
        assert event["type"] == "BOOKMARK"
        assert event["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
        await make(api, "c")
        assert await watch.take(1) == [("ADDED", "c")]


async def test_initial_events_must_say_how_old_they_may_be(api: Door) -> None:
    reply = await api.get(CONFIGS, watch="1", sendInitialEvents="true")
    assert (reply.status, reply["reason"]) == (422, "Invalid")


async def test_a_forgotten_past_cannot_be_watched(forgetting: Door) -> None:
    api = forgetting
    old, _ = await make(api, "a", "b")
    now = (await api.merge(f"{CONFIGS}/a", {"data": {"x": "1"}}))["metadata.resourceVersion"]
    await api.compact()
    async with api.watch(CONFIGS, resourceVersion=old) as watch:
        assert watch.status == 200
        event: Any = await watch.next()
        assert event["type"] == "ERROR"
        status = {key: event["object"][key] for key in ("kind", "status", "reason", "code")}
        assert status == {"kind": "Status", "status": "Failure", "reason": "Expired", "code": 410}
        assert await watch.next() is None
    async with api.watch(CONFIGS, resourceVersion=now) as watch:
        await make(api, "c")
        assert await watch.take(1) == [("ADDED", "c")]


async def test_a_forgotten_list_cannot_go_on(forgetting: Door) -> None:
    api = forgetting
    await make(api, "a", "b", "c")
    first = await api.get(CONFIGS, limit=1)
    await make(api, "d")
    await api.compact()
    second = await api.get(CONFIGS, limit=1, continue_=first["metadata.continue"])
    assert (second.status, second["reason"]) == (410, "Expired")
    assert "too old" in second["message"]


async def test_an_open_watch_outlives_a_compaction(forgetting: Door) -> None:
    api = forgetting
    (since,) = await make(api, "a")
    async with api.watch(CONFIGS, resourceVersion=since) as watch:
        await make(api, "b")
        assert await watch.take(1) == [("ADDED", "b")]
        await api.compact()
        await make(api, "c")
        assert await watch.take(1) == [("ADDED", "c")]


# --- deletion --------------------------------------------------------------------------------------------------


async def test_a_finaliser_holds_an_object_up(api: Door) -> None:
    since = (await api.create(WIDGETS, widget("w", {"finalizers": ["test.libre.sh/x"]})))["metadata.resourceVersion"]
    async with api.watch(WIDGETS, resourceVersion=since) as watch:
        marked = await api.delete(f"{WIDGETS}/w")
        assert (marked.status, marked["kind"]) == (200, "Widget")
        assert marked["metadata.deletionTimestamp"]
        assert marked["metadata.generation"] == 2
        again = await api.delete(f"{WIDGETS}/w")
        assert again["metadata.resourceVersion"] == marked["metadata.resourceVersion"]
        assert (await api.merge(f"{WIDGETS}/w", {"metadata": {"finalizers": None}})).status == 200
        assert (await api.get(f"{WIDGETS}/w")).status == 404
        assert await watch.take(2) == [("MODIFIED", "w"), ("DELETED", "w")]


async def test_an_apply_that_leaves_its_finaliser_out_lets_go(api: Door) -> None:
    await api.apply(f"{WIDGETS}/w", widget("w", {"finalizers": ["test.libre.sh/x"]}, host="a"))
    await api.delete(f"{WIDGETS}/w")
    assert (await api.apply(f"{WIDGETS}/w", widget("w", host="a"))).status == 200
    assert (await api.get(f"{WIDGETS}/w")).status == 404


def owned_by(owner: Reply, *, blocking: bool = True) -> dict[str, Any]:
    """Metadata of a dependant."""
    reference = {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata.name"],
        "uid": owner["metadata.uid"],
        "controller": True,
        "blockOwnerDeletion": blocking,
    }
    return {"ownerReferences": [reference]}


async def gone(api: Door, path: str) -> bool:
    return (await api.get(path)).status == 404


async def test_dependants_follow_their_owner(api: Door) -> None:
    owner = await api.create(WIDGETS, widget("w"))
    child = await api.create(CONFIGS, config("child", owned_by(owner)))
    await api.create(CONFIGS, config("grandchild", owned_by(child)))
    assert (await api.delete(f"{WIDGETS}/w", propagationPolicy="Background")).status == 200
    assert (await api.get(f"{WIDGETS}/w")).status == 404
    await api.eventually(lambda: gone(api, f"{CONFIGS}/child"))
    await api.eventually(lambda: gone(api, f"{CONFIGS}/grandchild"))


async def test_orphans_stay(api: Door) -> None:
    owner = await api.create(WIDGETS, widget("w"))
    await api.create(CONFIGS, config("child", owned_by(owner)))
    await api.delete(f"{WIDGETS}/w", propagationPolicy="Orphan")
    await api.eventually(lambda: gone(api, f"{WIDGETS}/w"))
    child = await api.get(f"{CONFIGS}/child")
    assert (child.status, child["metadata.ownerReferences"]) == (200, None)


async def test_in_the_foreground_the_owner_goes_last(api: Door) -> None:
    owner = await api.create(WIDGETS, widget("w"))
    held = {**owned_by(owner), "finalizers": ["test.libre.sh/x"]}
    await api.create(CONFIGS, config("child", held))
    marked = await api.delete(f"{WIDGETS}/w", propagationPolicy="Foreground")
    assert marked["metadata.finalizers"] == ["foregroundDeletion"]

    async def is_marked() -> bool:
        return bool((await api.get(f"{CONFIGS}/child"))["metadata.deletionTimestamp"])

    await api.eventually(is_marked)
    assert (await api.get(f"{WIDGETS}/w")).status == 200
    await api.merge(f"{CONFIGS}/child", {"metadata": {"finalizers": None}})
    await api.eventually(lambda: gone(api, f"{WIDGETS}/w"))


async def test_an_object_whose_owner_never_was_is_collected(api: Door) -> None:
    owner = Reply(
        200,
        {
            "apiVersion": "test.libre.sh/v1",
            "kind": "Widget",
            "metadata": {"name": "none", "uid": "00000000-0000-4000-8000-000000000000"},
        },
    )
    await api.create(CONFIGS, config("child", owned_by(owner)))
    await api.eventually(lambda: gone(api, f"{CONFIGS}/child"))


async def test_an_object_with_one_living_owner_stays(api: Door) -> None:
    one, two = [await api.create(WIDGETS, widget(name)) for name in ("one", "two")]
    owners = [{**owned_by(owner)["ownerReferences"][0], "controller": False} for owner in (one, two)]
    await api.create(CONFIGS, config("child", {"ownerReferences": owners}))
    await api.delete(f"{WIDGETS}/one", propagationPolicy="Background")

    async def has_one_owner() -> bool:
        return len((await api.get(f"{CONFIGS}/child"))["metadata.ownerReferences"]) == 1

    await api.eventually(has_one_owner)


async def test_a_namespace_takes_its_content_along(api: Door) -> None:
    await make(api, "a")
    await api.create(WIDGETS, widget("w", {"finalizers": ["test.libre.sh/x"]}))
    if api.fake:
        api.fake.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": api.namespace}})
    ending = await api.delete("/api/v1/namespaces/{ns}")
    assert (ending.status, ending["status.phase"]) == (200, "Terminating")
    refused = await api.create(CONFIGS, config("late"))
    assert (refused.status, refused["reason"]) == (403, "Forbidden")
    assert refused["details.causes"][0]["reason"] == "NamespaceTerminating"
    await api.eventually(lambda: gone(api, f"{CONFIGS}/a"))
    assert (await api.get("/api/v1/namespaces/{ns}")).status == 200
    await api.merge(f"{WIDGETS}/w", {"metadata": {"finalizers": None}})
    await api.eventually(lambda: gone(api, "/api/v1/namespaces/{ns}"))


async def test_a_collection_is_deleted_by_selector(api: Door) -> None:
    await make(api, "a", "b", x="1")
    await make(api, "c")
    assert (await api.ask("DELETE", CONFIGS, labelSelector="x=1")).status == 200
    assert names(await api.get(CONFIGS)) == ["c"]


# --- the rest --------------------------------------------------------------------------------------------------


async def test_kinds_of_the_whole_cluster_have_no_namespace(api: Door) -> None:
    made = await api.create(GLOBES, widget(f"globe-{api.namespace}", kind="Globe"))
    assert (made.status, made["metadata.namespace"]) == (201, None)
    assert (await api.delete(f"{GLOBES}/globe-{api.namespace}")).status == 200


async def test_resource_versions_rise_over_all_kinds(api: Door) -> None:
    first = int((await make(api, "a"))[0])
    second = int((await api.create(WIDGETS, widget("w")))["metadata.resourceVersion"])
    third = int((await api.get(CONFIGS))["metadata.resourceVersion"])
    assert first < second <= third


async def test_names_are_generated(api: Door) -> None:
    made = [await api.create(CONFIGS, {"metadata": {"generateName": "gen-"}}) for _ in range(2)]
    found = {reply["metadata.name"] for reply in made}
    assert len(found) == 2
    assert all(name.startswith("gen-") and len(name) == 9 for name in found)


async def test_a_dry_run_changes_nothing(api: Door) -> None:
    reply = await api.apply(f"{WIDGETS}/w", widget("w", host="a"), dryRun="All")
    assert (reply.status, reply["spec.host"], reply["spec.size"]) == (201, "a", 3)
    assert (await api.get(f"{WIDGETS}/w")).status == 404


async def test_writers_with_the_same_version_do_not_both_win(api: Door) -> None:
    made = await api.create(WIDGETS, widget("w", host="a"))

    async def write(host: str) -> int:
        body = {**made.body, "spec": {"host": host}}
        return (await api.put(f"{WIDGETS}/w", body)).status

    found = await asyncio.gather(*(write(host) for host in "bcde"))
    assert sorted(found) == [200, 409, 409, 409]


async def test_discovery_names_the_kinds(api: Door) -> None:
    found = await api.get("/apis/test.libre.sh/v1")
    kinds = {entry["name"]: (entry["kind"], entry["namespaced"]) for entry in found["resources"]}
    assert kinds["widgets"] == ("Widget", True)
    assert kinds["widgets/status"] == ("Widget", True)
    assert kinds["globes"] == ("Globe", False)
    assert "plains/status" not in kinds
