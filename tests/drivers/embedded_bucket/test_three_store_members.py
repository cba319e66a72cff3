"""Three members of Garage: what is made of a claim, in which order a change reaches them, and what is said of them."""

import tomllib
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from laws import samples
from libresh.api.quantity import parse
from libresh.drivers import drivers
from libresh.drivers.embedded_bucket import garage
from libresh.drivers.embedded_bucket.driver import Parameters
from libresh.drivers.members import MEMBER_LABEL, Member, content_of_member
from libresh.drivers.model import Ask, Seen
from libresh.plan.actions import Mint, Object
from libresh.plan.decision import Outcome, Settled, Stalled
from libresh.plan.naming import CONTENT_ANNOTATION
from support.netpol import Network, Peer

DRIVER = drivers()["Bucket", "embedded"]
THREE = samples.Variant(DRIVER, {"members": 3})
NEW, OLD = content_of_member("new", "keys"), content_of_member("old", "keys")
GROWN = {
    "metadata": {"name": "volume"},
    "spec": {"resources": {"requests": {"storage": "5Gi"}}},
    "status": {"capacity": {"storage": "5Gi"}},
}


def workload(name: str, content: str, ready: int = 1) -> Object:
    counts = {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "readyReplicas": ready}
    template = {"metadata": {"annotations": {CONTENT_ANNOTATION: content}}}
    return {"metadata": {"name": name, "generation": 1}, "spec": {"template": template}, "status": counts}


def member(name: str, content: str | None = NEW, *, ready: bool = True, **status: Any) -> Member:
    seen = None if content is None else workload(name, content, int(ready))
    containers = [{"name": "garage", **status}]
    pod = {
        "metadata": {"name": f"{name}-0"},
        "spec": {"nodeName": f"node-of-{name}"},
        "status": {"containerStatuses": containers},
    }
    return Member(workload(name, NEW), seen, () if content is None else (pod,))


def said(*members: Member, served: bool) -> tuple[str, bool, str]:
    outcome: Outcome = garage.outcome_of_members(members, [GROWN] * 3, served=served)
    return outcome.reason, isinstance(outcome, Settled) or outcome.ready, outcome.message


PULLED = {"state": {"waiting": {"reason": "ErrImageNeverPull"}}, "image": "local.libre.sh/garage:2.5.0"}
OUTCOMES: dict[str, tuple[tuple[Member, ...], tuple[str, bool, str]]] = {
    "all is well": (
        (member("a"), member("b"), member("c")),
        ("Settled", True, "The S3 server is ready with 3 members"),
    ),
    "it begins": (
        (member("a", None), member("b", None), member("c", None)),
        ("Starting", False, "The S3 server is starting: its members look for each other"),
    ),
    "they have not found each other yet": (
        tuple(member(name, ready=False) for name in "abc"),
        ("Starting", False, "The S3 server is starting: its members look for each other"),
    ),
    "its image is not in the cluster": (
        tuple(member(name, ready=False, **PULLED) for name in "abc"),
        (
            "Failing",
            False,
            "The S3 server: image local.libre.sh/garage:2.5.0 cannot be had (ErrImageNeverPull)",
        ),
    ),
    "one is missing": (
        (member("a"), member("b", ready=False), member("c")),
        ("MembersMissing", True, "The S3 server works with 2 of 3 members: b on node-of-b is not ready"),
    ),
    "two are missing, the third is alone": (
        (member("a", ready=False), member("b", ready=False), member("c", ready=False)),
        (
            "NoQuorum",
            False,
            "The S3 server has no quorum: nothing can be read or written until two members see each other; "
            "a on node-of-a is not ready, b on node-of-b is not ready, c on node-of-c is not ready",
        ),
    ),
    "a change is on its way": (
        (member("a"), member("b", OLD), member("c", OLD)),
        ("Rolling", True, "The S3 server is changed member by member; b, c are to come"),
    ),
}
BEGINNING = ("it begins", "they have not found each other yet", "its image is not in the cluster")
"""Cases of claims that were not ready yet."""


@pytest.mark.parametrize("case", OUTCOMES)
def test_it_says_how_the_members_stand(case: str) -> None:
    members, expected = OUTCOMES[case]
    assert said(*members, served=case not in BEGINNING) == expected


# --- what is made of a claim ---------------------------------------------------------------------------------


def ask_of(driver: Any = THREE, **parameters: Any) -> Ask:
    """What the driver is asked, with these parameters of the claim."""
    ask = samples.sample_ask(driver)
    changed = msgspec.structs.replace(ask.claim.asked, **parameters)
    spec = msgspec.structs.replace(ask.claim.spec, parameters=changed)
    return replace(ask, claim=msgspec.structs.replace(ask.claim, spec=spec))


def objects_of(kind: str) -> list[Object]:
    return [obj for obj in samples.applied(samples.planned(THREE)) if obj["kind"] == kind]


def container_of(obj: Object) -> Object:
    found: Object = obj["spec"]["template"]["spec"]["containers"][0]
    return found


def environment_of(obj: Object) -> dict[str, Any]:
    return {each["name"]: each.get("value", each.get("valueFrom")) for each in container_of(obj)["env"]}


def test_each_member_has_a_volume_and_a_node_of_its_own() -> None:
    workloads = objects_of("StatefulSet")
    assert [each["metadata"]["name"] for each in workloads] == ["sample-s3-0", "sample-s3-1", "sample-s3-2"]
    for number, each in enumerate(workloads):
        spec = each["spec"]["template"]["spec"]
        claim = {"claimName": f"sample-s3-member-{number}"}
        assert {"name": "data", "persistentVolumeClaim": claim} in spec["volumes"]
        (term,) = spec["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        assert term["labelSelector"]["matchLabels"].items() <= each["spec"]["template"]["metadata"]["labels"].items()
        assert each["spec"]["selector"]["matchLabels"][MEMBER_LABEL] == str(number)


def test_members_are_told_where_the_pods_of_all_will_be() -> None:
    workloads = objects_of("StatefulSet")
    services = {each["metadata"]["name"]: each["spec"] for each in objects_of("Service")}
    for each in workloads:
        service = services[each["spec"]["serviceName"]]
        assert service["publishNotReadyAddresses"] is True
        hosts = [
            f"{other['metadata']['name']}-0.{other['spec']['serviceName']}.team.svc:{garage.ADMIN_PORT}"
            for other in workloads
        ]
        assert environment_of(each)["LIBRESH_MEMBERS"].split() == hosts
    assert MEMBER_LABEL not in services["sample-s3"]["selector"]


def test_the_key_and_the_quota_are_the_first_members_alone() -> None:
    first, *others = (environment_of(each) for each in objects_of("StatefulSet"))
    assert first["LIBRESH_BUCKET"] == "sample"
    assert int(first["LIBRESH_QUOTA"]) == parse("10Gi")
    assert all("LIBRESH_SECRET_ACCESS_KEY" not in each and "LIBRESH_QUOTA" not in each for each in others)


def test_secrets_come_from_the_kept_secret_and_stand_nowhere() -> None:
    (mint,) = [each for each in samples.planned(THREE) if isinstance(each, Mint)]
    for each in objects_of("StatefulSet"):
        found = [value["secretKeyRef"] for value in environment_of(each).values() if isinstance(value, dict)]
        assert {ref["name"] for ref in found} == {"sample-s3-credentials"}
        assert {ref["key"] for ref in found} <= set(mint.values)


def test_a_volume_holds_more_than_the_quota_lets_in() -> None:
    sizes = [each["spec"]["resources"]["requests"]["storage"] for each in objects_of("PersistentVolumeClaim")]
    assert [parse(size) for size in sizes] == [parse("10Gi") * 5 // 4 + parse("256Mi")] * 3
    assert garage.volume_size("1") == "257Mi"


def test_a_larger_bucket_restarts_the_first_member_only() -> None:
    def contents(storage: str) -> list[str]:
        ask = ask_of(storage=storage)
        built = [garage.build_member(ask, number, "credentials") for number in garage.MEMBERS]
        return [each["spec"]["template"]["metadata"]["annotations"][CONTENT_ANNOTATION] for each in built]

    before, after = contents("10Gi"), contents("20Gi")
    assert [old == new for old, new in zip(before, after, strict=True)] == [False, True, True]


def test_the_configuration_is_for_three_and_holds_no_secret() -> None:
    config = tomllib.loads(garage.render_config(ask_of()))
    assert (config["replication_factor"], config["metadata_fsync"], config["data_fsync"]) == (3, True, True)
    assert config["block_ram_buffer_max"] <= parse("256Mi") // 4
    assert "rpc_secret" not in config
    assert "admin_token" not in config["admin"]


def test_only_members_reach_what_is_not_s3_and_they_reach_only_each_other() -> None:
    (policy,) = objects_of("NetworkPolicy")
    network = Network([policy], {"team": {}, "other": {}})
    first, second = [
        Peer("team", each["spec"]["template"]["metadata"]["labels"]) for each in objects_of("StatefulSet")[:2]
    ]
    app, stranger = Peer("team", {"app": "chat"}), Peer("other", first.labels)
    for port in (garage.S3_PORT, garage.RPC_PORT, garage.ADMIN_PORT):
        assert network.allows(first, second, port)
        assert network.allows(app, second, port) == (port == garage.S3_PORT)
        assert not network.allows(stranger, second, port)
    assert not network.allows(first, app, 80)
    assert network.allows(first, Peer("kube-system", {"k8s-app": "kube-dns"}), 53, "UDP")


def test_ha_is_promised_only_by_three_and_versioning_only_by_one() -> None:
    assert DRIVER.capabilities(Parameters()) == ("expand", "quota", "versioning")
    assert DRIVER.capabilities(Parameters(members=3)) == ("expand", "ha", "quota")


def test_versions_of_objects_are_refused_in_words() -> None:
    refused = DRIVER.refuse(ask_of(versioning=True))
    assert isinstance(refused, Stalled)
    assert refused.reason == "VersioningNotServed"
    for word in ("spec.parameters.versioning", "sample-class", "members: 3", "set it to false"):
        assert word in refused.message
    assert DRIVER.refuse(ask_of(samples.Variant(DRIVER, {}), versioning=True)) is None


@pytest.mark.parametrize(
    ("members", "left", "way_out"), [(1, "sample-s3-member-2", "members: 3"), (3, "sample-s3-data", "members: 1")]
)
def test_what_another_server_has_left_is_not_touched(members: int, left: str, way_out: str) -> None:
    ask = ask_of(samples.Variant(DRIVER, {"members": members}))
    (ref,) = [ref for ref in DRIVER.looks_at(ask) if ref.name == left]
    provision = DRIVER.plan(ask, Seen(objects={ref: GROWN}))
    assert isinstance(provision.outcome, Stalled)
    assert provision.outcome.reason == "LeftByOtherServer"
    assert left in provision.outcome.message
    assert way_out in provision.outcome.message
    assert (provision.actions, provision.kept) == ((), ())
