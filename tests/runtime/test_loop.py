"""One pass of the loop at a time, against the API server in memory."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from toys import Toy, ToyReconciler, box, crd, fence, owned_by, settle, toy

from libresh.errors import LibreshError
from libresh.kube.auth import Access
from libresh.kube.client import Client
from libresh.plan.actions import Apply, Byproduct, Delete, Mint, Random, Ref, Release
from libresh.plan.decision import Decision, Delegated, Extra, Settled, Stalled, Waiting
from libresh.ports import Reader
from libresh.runtime.loop import End, Loop
from libresh.runtime.manager import Manager
from support.fakeapi import FakeApi, Server

ONE = Ref("Toy", "one", "play")


class Bench:
    """A fake API server, a client, and a loop without background tasks."""

    def __init__(self, server: Server, client: Client, reconciler: ToyReconciler) -> None:
        self.api: FakeApi = server.api
        self.client = client
        self.reconciler = reconciler
        self.manager = Manager(client, [reconciler], metrics_port=None, leader_election=False)
        self.cluster = self.manager.cluster
        self.loop: Loop = self.manager.loops["Toy"]

    async def once(self, ref: Ref = ONE, *, refresh: bool = True, failures: int = 0) -> Any:
        if refresh:
            await self.cluster.refresh()
        return await self.loop.once(ref, failures)

    async def settled(self, ref: Ref = ONE) -> None:
        """Passes until one writes nothing, then one more."""
        for _ in range(10):
            if not (await self.once(ref)).wrote:
                break
        before = len(self.api.journal)
        assert (await self.once(ref)).wrote == 0
        assert self.api.journal[before:] == []

    def conditions(self, name: str = "one") -> dict[str, tuple[str, str]]:
        status = self.api.get("Toy", name, "play")["status"]
        return {item["type"]: (item["status"], item["reason"]) for item in status["conditions"]}

    def message(self, type: str = "Ready") -> str:
        status = self.api.get("Toy", "one", "play")["status"]
        return next(item["message"] for item in status["conditions"] if item["type"] == type)


@asynccontextmanager
async def bench(reconciler: ToyReconciler, *objects: dict[str, Any]) -> AsyncIterator[Bench]:
    api = FakeApi(crds=[crd()])
    async with Server(api) as server, Client(Access(server.url)) as client:
        for obj in objects or (toy("one"),):
            api.create(obj)
        yield Bench(server, client, reconciler)


def wishing(*make: Callable[[Toy], Any], prune: bool = False, outcome: Any = None) -> Callable[[Toy, Any], Decision]:
    """A decision with these actions."""

    def judge(obj: Toy, seen: Any) -> Decision:
        actions = tuple(each(obj) for each in make)
        return Decision(outcome or Settled(), {"size": obj.spec.size}, actions, prune=prune)

    return judge


async def test_a_pass_writes_status_once_and_then_nothing() -> None:
    async with bench(ToyReconciler()) as b:
        result = await b.once()
        assert (result.end, result.wrote) == (End.SETTLED, 1)
        status = b.api.get("Toy", "one", "play")["status"]
        assert status["observedGeneration"] == 1
        assert status["size"] == 1
        assert b.conditions() == {"Ready": ("True", "Settled")}
        await b.settled()


async def test_a_child_is_made_kept_and_healed() -> None:
    async with bench(ToyReconciler(judge=wishing(lambda o: Apply(box(o))))) as b:
        await b.settled()
        made = b.api.get("ConfigMap", "one-box", "play")
        assert made["data"] == {"size": "1"}
        assert made["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "libresh"
        b.api.edit("ConfigMap", "one-box", "play", data={"size": "7"})
        assert (await b.once()).wrote == 1
        assert b.api.get("ConfigMap", "one-box", "play")["data"] == {"size": "1"}
        b.api.delete("ConfigMap", "one-box", "play")
        await b.settled()
        assert b.api.get("ConfigMap", "one-box", "play") is not None


async def test_what_changes_while_a_pass_goes_on_brings_it_back() -> None:
    other = toy("two")
    woken: list[str] = []

    async def look(obj: Toy, reader: Reader) -> Any:
        seen = await reader.load(Toy, "two", "play")
        if not woken:
            b.api.edit("Toy", "two", "play", spec={"size": 5})
            await b.cluster.refresh()
        return seen

    async with bench(ToyReconciler(look=look), toy("one"), other) as b:
        await b.cluster.refresh()
        b.cluster.wake = lambda key, own: woken.append(key[2])
        await b.once(refresh=False)
        assert "one" in woken, "it read the other one as it was before"


async def test_a_field_that_is_no_longer_wished_for_is_removed() -> None:
    def judge(obj: Toy, seen: Any) -> Decision:
        more = {"extra": "x"} if obj.spec.size == 1 else {}
        return Decision(Settled(), actions=(Apply(box(obj, **more)),))

    async with bench(ToyReconciler(judge=judge)) as b:
        await b.settled()
        assert b.api.get("ConfigMap", "one-box", "play")["data"] == {"size": "1", "extra": "x"}
        b.api.edit("Toy", "one", "play", spec={"size": 2})
        await b.settled()
        assert b.api.get("ConfigMap", "one-box", "play")["data"] == {"size": "2"}


def waiting_for_a_box(obj: Toy, seen: Any) -> Decision:
    """Waits for its child, with nothing of its own to put on record but its size."""
    outcome = Settled() if seen else Waiting("Boxing", "The box is being made")
    return Decision(outcome, {"size": obj.spec.size}, (Apply(box(obj)),))


async def see_the_box(obj: Toy, reader: Reader) -> Any:
    return await reader.get(Ref("ConfigMap", f"{obj.name}-box", obj.namespace))


async def test_what_passes_by_at_once_is_not_said() -> None:
    async with bench(ToyReconciler(look=see_the_box, judge=waiting_for_a_box)) as b:
        b.api.edit("Toy", "one", "play", status={"size": 1})
        first = await b.once()
        assert (first.end, first.recheck, first.wrote) == (End.AGAIN, 0.0, 1)
        assert b.api.get("Toy", "one", "play")["status"] == {"size": 1}
        assert (await b.once()).end is End.SETTLED
        assert b.conditions() == {"Ready": ("True", "Settled")}
        await b.settled()


async def test_what_goes_on_record_is_never_put_off() -> None:
    async with bench(ToyReconciler(look=see_the_box, judge=waiting_for_a_box)) as b:
        assert (await b.once()).wrote == 2
        assert b.api.get("Toy", "one", "play")["status"]["size"] == 1
        assert b.conditions()["Ready"] == ("False", "Boxing")


async def test_who_has_to_write_again_and_again_says_so_in_the_end() -> None:
    judge = wishing(lambda o: Apply(box(o)), outcome=Waiting("Boxing", "The box is being made"))
    async with bench(ToyReconciler(judge=judge)) as b:
        b.api.edit("Toy", "one", "play", status={"size": 1})
        said = []
        for number in range(8):
            await b.once()
            said.append(len(b.api.get("Toy", "one", "play")["status"].get("conditions", ())))
            b.api.edit("ConfigMap", "one-box", "play", data={"size": f"undone {number}"})
        assert said == [0, 0, 0, 2, 2, 2, 2, 2]


FOREIGN = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "one-box", "namespace": "play"},
    "data": {"a": "b"},
}


async def test_what_somebody_else_made_is_never_taken_over() -> None:
    async with bench(ToyReconciler(judge=wishing(lambda o: Apply(box(o)))), toy("one"), FOREIGN) as b:
        result = await b.once()
        assert result.end is End.FAILED
        assert b.conditions() == {"Ready": ("False", "NotOurs"), "Stalled": ("True", "NotOurs")}
        assert "ConfigMap play/one-box" in b.message()
        assert b.api.get("ConfigMap", "one-box", "play")["data"] == {"a": "b"}
        b.api.delete("ConfigMap", "one-box", "play")
        await b.settled()
        assert b.conditions() == {"Ready": ("True", "Settled")}


@pytest.mark.parametrize("theirs", [False, True], ids=["labelled as ours", "labelled otherwise"])
async def test_what_software_of_ours_made_is_deleted_by_its_labels(theirs: bool) -> None:
    note = {**FOREIGN, "metadata": {**FOREIGN["metadata"], "labels": {"scope": "two" if theirs else "one"}}}
    delete = wishing(lambda o: Delete(Byproduct("ConfigMap", "one-box", "play", (("scope", "one"),))))
    async with bench(ToyReconciler(judge=delete), toy("one"), note) as b:
        await b.settled()
        assert (b.api.get("ConfigMap", "one-box", "play") is not None) == theirs


async def test_another_owners_child_is_never_taken_over() -> None:
    shared = wishing(lambda o: Apply(box(o, name="shared")))
    async with bench(ToyReconciler(judge=shared), toy("one"), toy("two")) as b:
        await b.settled()
        await b.once(Ref("Toy", "two", "play"))
        assert b.conditions("two")["Stalled"] == ("True", "NotOurs")
        uid = b.api.get("Toy", "one", "play")["metadata"]["uid"]
        assert b.api.get("ConfigMap", "shared", "play")["metadata"]["ownerReferences"][0]["uid"] == uid


async def test_children_no_longer_wanted_are_pruned_and_nothing_else() -> None:
    def judge(obj: Toy, seen: Any) -> Decision:
        names = [f"box-{number}" for number in range(obj.spec.size)]
        return Decision(Settled(), actions=tuple(Apply(box(obj, name)) for name in names), prune=True)

    other = {
        **FOREIGN,
        "metadata": {"name": "box-9", "namespace": "play", "labels": {"app.kubernetes.io/managed-by": "libresh"}},
    }
    async with bench(ToyReconciler(judge=judge), toy("one", size=3), other) as b:
        await b.settled()
        b.api.edit("Toy", "one", "play", spec={"size": 1})
        await b.settled()
        assert [item["metadata"]["name"] for item in b.api.objects("ConfigMap", "play")] == ["box-0", "box-9"]


async def test_the_finaliser_comes_before_the_first_effect_and_goes_last() -> None:
    def judge(obj: Toy, seen: Any) -> Decision:
        if obj.deleting:
            return Decision(Waiting("Deleting", "…"), actions=(Delete(Ref("ConfigMap", "one-box", "play")), Release()))
        return Decision(Settled(), actions=(Apply(box(obj)),))

    async with bench(ToyReconciler(judge=judge, finalizer=True)) as b:
        await b.settled()
        assert [(write.verb, write.kind) for write in b.api.journal][:2] == [("patch", "Toy"), ("apply", "ConfigMap")]
        assert b.api.get("Toy", "one", "play")["metadata"]["finalizers"] == ["libre.sh/finalizer"]
        b.api.delete("Toy", "one", "play")
        assert (await b.once()).wrote == 2
        assert b.api.get("Toy", "one", "play") is None
        assert b.api.get("ConfigMap", "one-box", "play") is None
        assert (await b.once()).end is End.GONE


async def test_a_finaliser_nobody_asks_for_any_more_does_not_hold() -> None:
    async with bench(ToyReconciler(judge=wishing(lambda o: Apply(box(o))), finalizer=True)) as b:
        await b.settled()
        b.api.delete("Toy", "one", "play")
        assert b.api.get("Toy", "one", "play") is not None
        b.reconciler.finalizer = False
        await b.once()
        assert b.api.get("Toy", "one", "play") is None


async def test_a_suspended_object_is_left_alone() -> None:
    async with bench(ToyReconciler(judge=wishing(lambda o: Apply(box(o))))) as b:
        await b.settled()
        b.api.edit("Toy", "one", "play", spec={"suspend": True})
        b.api.edit("ConfigMap", "one-box", "play", data={"size": "7"})
        await b.settled()
        assert b.conditions() == {"Ready": ("True", "Suspended")}
        assert b.api.get("ConfigMap", "one-box", "play")["data"]["size"] == "7"
        assert b.api.get("Toy", "one", "play")["status"]["size"] == 1


async def test_an_object_that_cannot_be_read_is_stalled_and_harms_no_other() -> None:
    async with bench(ToyReconciler(), toy("one"), toy("bad", size="large")) as b:
        assert (await b.once(Ref("Toy", "bad", "play"))).end is End.STALLED
        assert b.conditions("bad")["Stalled"] == ("True", "InvalidObject")
        assert (await b.once()).end is End.SETTLED


async def test_a_bug_is_told_without_its_words() -> None:
    def judge(obj: Toy, seen: Any) -> Decision:
        raise ValueError("the password is hunter2")

    async with bench(ToyReconciler(judge=judge)) as b:
        assert (await b.once()).end is End.FAILED
        assert b.conditions()["Ready"] == ("False", "InternalError")
        assert "ValueError" in b.message()
        assert "hunter2" not in str(b.api.get("Toy", "one", "play"))


async def test_a_refusal_is_told_with_the_servers_words() -> None:
    bad = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "Not_A_Name", "namespace": "play"}}
    async with bench(ToyReconciler(judge=wishing(lambda o: Apply({**bad, "data": {}})))) as b:
        b.api.faults.refuse(422, verb="apply", kind="ConfigMap", times=9)
        assert (await b.once()).end is End.FAILED
        assert b.conditions()["Stalled"] == ("True", "Refused")
        assert b.message().startswith("The API server could not apply ConfigMap play/Not_A_Name: ")


async def test_no_answer_leaves_the_status_until_patience_ends() -> None:
    async with bench(ToyReconciler(judge=wishing(lambda o: Apply(box(o, v=str(o.metadata.generation)))))) as b:
        await b.settled()
        b.api.edit("Toy", "one", "play", spec={"size": 2})
        await b.cluster.refresh()
        b.api.faults.refuse(503, verb="apply", kind="ConfigMap", times=9)
        assert (await b.once(refresh=False)).end is End.FAILED
        assert b.conditions() == {"Ready": ("True", "Settled")}
        assert (await b.once(refresh=False, failures=9)).end is End.FAILED
        assert b.conditions()["Reconciling"] == ("True", "Unavailable")


async def test_a_conflict_is_silent_and_sees_the_truth_next_time() -> None:
    async with bench(ToyReconciler(judge=wishing(lambda o: Apply(box(o))), finalizer=True)) as b:
        await b.cluster.refresh()
        b.api.edit("Toy", "one", "play", spec={"size": 5})
        assert (await b.once(refresh=False)).end is End.CONFLICT
        assert "status" not in b.api.get("Toy", "one", "play")
        assert (await b.once(refresh=False)).end is End.SETTLED
        assert b.api.get("ConfigMap", "one-box", "play")["data"] == {"size": "5"}


async def test_undeclared_kinds_are_programming_errors() -> None:
    async def look(obj: Toy, reader: Any) -> Any:
        return await reader.get(Ref("Deployment", "x", "play"))

    async with bench(ToyReconciler(look=look)) as b:
        await b.once()
        assert b.conditions()["Stalled"] == ("True", "KindNotDeclared")


async def test_a_secret_is_never_read_by_get() -> None:
    async def look(obj: Toy, reader: Any) -> Any:
        return await reader.get(Ref("Secret", "x", "play"))

    async with bench(ToyReconciler(look=look)) as b:
        result = await b.once()
        assert isinstance(result.error, LibreshError)
        assert result.error.reference == "secret-by-get"


async def test_only_what_was_read_brings_an_object_back() -> None:
    async def look(obj: Toy, reader: Any) -> Any:
        return await reader.secret("play", obj.spec.secret)

    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "s", "namespace": "play"},
        "data": {"k": "dg=="},
    }
    ours = {"app.kubernetes.io/managed-by": "libresh"}
    objects = (
        toy("one", secret="s"),
        toy("two", secret="t"),
        {**secret, "metadata": {**secret["metadata"], "labels": ours}},
    )
    async with bench(ToyReconciler(look=look), *objects) as b:
        await b.once()
        await b.once(Ref("Toy", "two", "play"))
        woken: list[Any] = []
        b.cluster.wake = lambda key, own: woken.append(key)
        b.api.edit("Secret", "s", "play", data={"k": "dw=="})
        await b.cluster.refresh()
        assert woken == [("Toy", "play", "one")]


async def test_events_tell_changes_of_conditions_once() -> None:
    verdict: list[Any] = [Waiting("Starting", "It starts", timedelta(seconds=5))]

    async with bench(ToyReconciler(judge=lambda o, s: Decision(verdict[0], {"size": o.spec.size}))) as b:
        b.manager.recorder.client = b.client
        for outcome in (verdict[0], verdict[0], Settled(), Settled(), Stalled("HostTaken", "Taken by play/two")):
            verdict[0] = outcome
            await b.once()
        await b.manager.recorder.flush()
        events = b.api.objects("Event", "play")
        assert sorted((item["reason"], item["type"]) for item in events) == [
            ("HostTaken", "Warning"),
            ("Settled", "Normal"),
            ("Starting", "Normal"),
        ]


async def test_extra_conditions_and_transition_times() -> None:
    extra = [Extra("BackedUp", False, "Never", "There is no backup yet")]
    async with bench(ToyReconciler(judge=lambda o, s: Decision(Settled(), conditions=tuple(extra)))) as b:
        await b.settled()
        assert b.conditions()["BackedUp"] == ("False", "Never")


async def test_a_minted_secret_is_made_once_and_restored() -> None:
    def mint(obj: Toy) -> Mint:
        metadata = {"name": "one-keys", "namespace": "play", "ownerReferences": owned_by(obj)}
        return Mint(metadata, {"password": Random()})

    async with bench(ToyReconciler(judge=wishing(mint))) as b:
        await b.settled()
        first = b.api.get("Secret", "one-keys", "play")["data"]
        b.api.edit("Secret", "one-keys", "play", data={"other": "eA=="})
        await b.settled()
        assert b.api.get("Secret", "one-keys", "play")["data"] == first
        b.api.delete("Secret", "one-keys", "play")
        await b.settled()
        assert b.api.get("Secret", "one-keys", "play")["data"].keys() == {"password"}


@pytest.mark.parametrize("crash", range(1, 6))
async def test_a_crash_after_any_write_still_settles(crash: int) -> None:
    def mint(obj: Toy) -> Mint:
        return Mint({"name": "one-keys", "namespace": "play", "ownerReferences": owned_by(obj)}, {"p": Random()})

    judge = wishing(mint, lambda o: Apply(box(o)), lambda o: Apply(box(o, name="second")))
    async with bench(ToyReconciler(judge=judge, finalizer=True)) as b:
        b.api.faults.crash_after(crash)
        await b.once()
        b.api.faults.heal()
        next_life = Bench.__new__(Bench)
        next_life.__dict__.update(b.__dict__)
        next_life.manager = Manager(b.client, [b.reconciler], metrics_port=None, leader_election=False)
        next_life.cluster, next_life.loop = next_life.manager.cluster, next_life.manager.loops["Toy"]
        await next_life.settled()
        assert len(b.api.objects("ConfigMap", "play")) == 2


DRIFTS: dict[str, dict[str, Any]] = {
    "a rule more": {"spec": {"ingress": [{"ports": [{"port": 81}]}, {}]}},
    "another port": {"spec": {"ingress": [{"ports": [{"port": 99}]}]}},
    "a label less": {"metadata": {"labels": {"size": None}}},
    "another label": {"metadata": {"labels": {"size": "big"}}},
    "the mark itself": {"metadata": {"annotations": {"libre.sh/applied": "nonsense"}}},
    "no owner": {"metadata": {"ownerReferences": None}},
}


@pytest.mark.parametrize("grown", [False, True], ids=["as it was made", "changed by us since"])
@pytest.mark.parametrize("name", DRIFTS)
async def test_any_drift_is_healed_even_after_a_restart(name: str, grown: bool) -> None:
    async with bench(ToyReconciler(judge=wishing(lambda o: Apply(fence(o))))) as b:
        await b.settled()
        if grown:
            b.api.edit("Toy", "one", "play", spec={"size": 2})
            await b.settled()
        good = b.api.get("NetworkPolicy", "one-fence", "play")
        b.api.edit("NetworkPolicy", "one-fence", "play", **DRIFTS[name])
        next_life = Manager(b.client, [b.reconciler], metrics_port=None, leader_election=False)
        await next_life.cluster.refresh()
        await next_life.loops["Toy"].once(ONE)
        healed = b.api.get("NetworkPolicy", "one-fence", "play")
        assert healed["spec"] == good["spec"]
        assert healed["metadata"]["labels"] == good["metadata"]["labels"]
        assert healed["metadata"]["ownerReferences"] == good["metadata"]["ownerReferences"]
        await b.settled()


async def test_a_restart_writes_nothing() -> None:
    judge = wishing(lambda o: Apply(fence(o)), lambda o: Apply(box(o)))
    async with bench(ToyReconciler(judge=judge, finalizer=True)) as b:
        await b.settled()
        before = len(b.api.journal)
        next_life = Manager(b.client, [b.reconciler], metrics_port=None, leader_election=False)
        await next_life.cluster.refresh()
        result = await next_life.loops["Toy"].once(ONE)
        assert (result.end, result.wrote) == (End.SETTLED, 0)
        assert b.api.journal[before:] == []


async def test_a_change_during_the_first_pass_is_noticed() -> None:
    woken: list[Any] = []

    async def look(obj: Toy, reader: Any) -> Any:
        return await reader.list(Toy)

    def judge(obj: Toy, seen: Any) -> Decision:
        # While a pass writes, an object that it read changes: here between its looking and its writing.
        b.cluster.learn("Toy", msgspec.json.encode(b.api.create(toy("two"))))
        return settle(obj, seen)

    async with bench(ToyReconciler(look=look, judge=judge)) as b:
        await b.cluster.refresh()
        b.cluster.wake = lambda key, own: woken.append(key)
        await b.once(refresh=False)
        assert ("Toy", "play", "one") in woken


def leave(obj: Toy, seen: Any) -> Decision:
    """A decision that leaves the object to somebody else, who has spoken once Ready has another reason."""
    ready = next((c for c in obj.status.conditions if c.type == "Ready"), None) if obj.status else None
    heard = ready is not None and ready.reason != "Elsewhere"
    return Decision(Delegated("Elsewhere", "Another one serves it", heard), {"size": obj.spec.size})


def spoken(**status: Any) -> dict[str, Any]:
    """What another controller applies to the status."""
    condition = {"type": "Ready", "status": "True", "reason": "Theirs", "message": "", "observedGeneration": 1}
    return {**toy("one"), "status": {"conditions": [condition], "observedGeneration": 1, **status}}


async def test_what_is_left_to_another_controller_says_so_until_that_one_speaks() -> None:
    async with bench(ToyReconciler(judge=leave)) as b:
        await b.settled()
        assert b.conditions() == {"Ready": ("Unknown", "Elsewhere")}
        assert "observedGeneration" not in b.api.get("Toy", "one", "play")["status"]
        b.api.apply(spoken(note="mine"), "theirs", force=True, subresource="status")
        await b.settled()
        assert b.conditions() == {"Ready": ("True", "Theirs")}


async def test_of_a_shared_status_only_our_own_part_is_written() -> None:
    async with bench(ToyReconciler(judge=leave)) as b:
        await b.settled()
        b.api.apply(spoken(note="mine"), "theirs", force=True, subresource="status")
        b.api.edit("Toy", "one", "play", spec={"size": 2})
        await b.settled()
        status = b.api.get("Toy", "one", "play")["status"]
        assert (status["size"], status["note"], status["observedGeneration"]) == (2, "mine", 1)
        assert b.conditions() == {"Ready": ("True", "Theirs")}
