"""Laws that every driver keeps, whoever wrote it."""

from pathlib import Path
from typing import Any, cast, get_args

import msgspec
import pytest

from laws import samples
from libresh.api.claims import Capability
from libresh.api.grants import AllowedNamespaces
from libresh.drivers import is_outside
from libresh.drivers.connection import OPTIONAL, REQUIRED, missing_keys
from libresh.drivers.model import Driver, ServerDriver, runs_server
from libresh.kube.kinds import Kinds
from libresh.plan import naming
from libresh.plan.actions import Literal, Ref, Theirs
from libresh.plan.objects import USER
from libresh.ports import COMPOSED

every_driver = pytest.mark.parametrize("driver", list(samples.all_drivers()), ids=samples.driver_id)


def test_there_are_drivers_for_every_kind_of_claim() -> None:
    assert {driver.claim_kind for driver in samples.all_drivers()} == set(REQUIRED)


@every_driver
def test_no_name_says_that_it_is_outside_of_libresh(driver: Driver) -> None:
    assert not is_outside(driver.name)


@every_driver
def test_same_seen_same_plan(driver: Driver) -> None:
    assert samples.planned(driver) == samples.planned(driver)


@every_driver
def test_connection_has_every_published_key(driver: Driver) -> None:
    ask = samples.sample_ask(driver)
    provision = driver.plan(ask, samples.everything_seen(driver, driver.looks_at(ask)))
    assert provision.connection is not None
    assert missing_keys(driver.claim_kind, frozenset(provision.connection)) == ()


@every_driver
def test_what_a_driver_can_do_is_said_in_words_that_are_explained(driver: Driver) -> None:
    page = (Path(__file__).parents[2] / "docs" / "kinds" / "serviceclass.md").read_text(encoding="utf-8")
    said, required = set(driver.capabilities(samples.sample_ask(driver).parameters)), set(get_args(Capability))
    assert said <= words_of(page)
    assert said <= required <= words_of(page), "whatever a class promises can be required"


def words_of(page: str) -> set[str]:
    """The words in the first column of the page's tables."""
    rows = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `")]
    return {word.strip("` ") for row in rows for word in row.split(",")}


def test_keys_that_belong_together_are_all_there_or_none() -> None:
    without = frozenset(REQUIRED["SMTPAccount"])
    assert not without & {"username", "password"}
    assert missing_keys("SMTPAccount", without) == ()
    assert missing_keys("SMTPAccount", without | {"username"}) == ("password",)
    assert missing_keys("SMTPAccount", without | {"password"}) == ("username",)
    assert missing_keys("SMTPAccount", without | {"username", "password"}) == ()
    assert missing_keys("PostgreSQL", frozenset(REQUIRED["PostgreSQL"]) - {"password"}) == ("password",)


@every_driver
def test_connection_has_no_key_that_is_not_published(driver: Driver) -> None:
    ask = samples.sample_ask(driver)
    provision = driver.plan(ask, samples.everything_seen(driver, driver.looks_at(ask)))
    published = {*REQUIRED[driver.claim_kind], *OPTIONAL.get(driver.claim_kind, ())}
    extra = set(provision.connection or {}) - published
    assert driver.name == "static" or extra == set(), "static hands on whatever the Secret has"


@every_driver
def test_no_secret_is_written_as_a_literal(driver: Driver) -> None:
    ask = samples.sample_ask(driver)
    provision = driver.plan(ask, samples.everything_seen(driver, driver.looks_at(ask)))
    for key in ("password", "secret-access-key", "client-secret"):
        value = (provision.connection or {}).get(key)
        assert value is None or not isinstance(value, Literal), key


@every_driver
def test_pods_meet_pod_security_restricted(driver: Driver) -> None:
    for obj, template in samples.pod_specs(samples.applied(samples.planned(driver))):
        security = template["spec"]["securityContext"]
        assert security["runAsNonRoot"] is True
        assert security["runAsUser"] == security["fsGroup"] == USER
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        assert set(template["spec"]) & {"hostNetwork", "hostPID", "hostIPC"} == set()
        for container in samples.containers(template):
            own = container["securityContext"]
            assert own["allowPrivilegeEscalation"] is False, obj["metadata"]["name"]
            assert own["capabilities"] == {"drop": ["ALL"]}
            assert own["readOnlyRootFilesystem"] is True
        for volume in template["spec"].get("volumes", []):
            assert set(volume) <= {"name", "emptyDir", "configMap", "secret", "persistentVolumeClaim", "projected"}


@every_driver
def test_servers_say_how_they_are_and_what_they_need(driver: Driver) -> None:
    for obj, template in samples.pod_specs(samples.applied(samples.planned(driver))):
        for container in samples.containers(template):
            assert container["resources"]["requests"].keys() == {"cpu", "memory"}
            assert "memory" in container["resources"]["limits"]
            assert container["image"].startswith("images.example.org/")
        if obj["kind"] in ("Deployment", "StatefulSet"):
            for container in template["spec"]["containers"]:
                assert "readinessProbe" in container, container["name"]


@every_driver
def test_every_server_has_a_network_policy(driver: Driver) -> None:
    found = samples.applied(samples.planned(driver))
    selectors = [obj["spec"]["podSelector"]["matchLabels"] for obj in found if obj["kind"] == "NetworkPolicy"]
    for obj, template in samples.pod_specs(found):
        labels = template["metadata"]["labels"]
        assert any(selector.items() <= labels.items() for selector in selectors), obj["metadata"]["name"]


@every_driver
def test_what_holds_data_has_no_owner_and_all_else_has(driver: Driver) -> None:
    actions = samples.planned(driver)
    metadata = [(obj["kind"], obj["metadata"]) for obj in samples.applied(actions)]
    metadata += [("Secret", mint.metadata) for mint in samples.minted(actions)]
    for kind, meta in metadata:
        kept = naming.KEPT_FOR_LABEL in meta["labels"]
        # What lies in another namespace than its owner cannot have an owner reference, but says whose it is.
        owned = "ownerReferences" in meta or naming.OWNER_UID_LABEL in meta["labels"]
        assert kept != owned, f"{kind} {meta['name']}"
        assert meta["labels"][naming.MANAGED_LABEL] == naming.MANAGED_BY
        assert kept or kind != "PersistentVolumeClaim"


@every_driver
def test_kept_references_are_just_what_is_kept(driver: Driver) -> None:
    ask = samples.sample_ask(driver)
    provision = driver.plan(ask, samples.everything_seen(driver, driver.looks_at(ask)))
    kept = {ref.name for ref in provision.kept}
    for mint in samples.minted(provision.actions):
        assert (mint.ref.name in kept) == (naming.KEPT_FOR_LABEL in mint.metadata["labels"])
    for obj in samples.applied(provision.actions):
        if naming.KEPT_FOR_LABEL in obj["metadata"]["labels"]:
            assert obj["metadata"]["name"] in kept


@every_driver
def test_names_and_labels_fit_for_the_longest_claim(driver: Driver) -> None:
    for obj in samples.applied(samples.planned(driver, samples.LONGEST_NAME)):
        meta = obj["metadata"]
        # A StatefulSet's name and ten letters of a revision make a label of its pods.
        assert len(meta["name"]) <= (52 if obj["kind"] == "StatefulSet" else 63), meta["name"]
        for key, value in meta["labels"].items():
            assert len(value) <= 63, f"{key}={value}"


@every_driver
def test_what_is_written_is_declared(driver: Driver) -> None:
    declared = {watched.kind for watched in driver.watches if watched.writes}
    actions = samples.planned(driver)
    kinds = Kinds()
    for obj in samples.applied(actions):
        foreign = naming.parse_composed_kind(naming.composed_kind(obj["apiVersion"], obj["kind"]))
        known = obj["kind"] in kinds and kinds[obj["kind"]].api_version == obj["apiVersion"]
        assert obj["kind"] in declared or (COMPOSED in declared and foreign and not known), obj["kind"]
    assert not samples.minted(actions) or "Secret" in declared


@every_driver
def test_secrets_are_never_arguments(driver: Driver) -> None:
    for _, template in samples.pod_specs(samples.applied(samples.planned(driver))):
        for container in samples.containers(template):
            secret_variables = {
                env["name"] for env in container.get("env", []) if "secretKeyRef" in env.get("valueFrom", {})
            }
            words = " ".join([*container.get("command", []), *container.get("args", [])])
            assert not any(f"$({name})" in words for name in secret_variables)


@every_driver
def test_it_makes_the_secrets_it_looks_at_or_says_that_others_do(driver: Driver) -> None:
    ask = samples.sample_ask(driver)
    looked = set(driver.looks_at(ask))
    if runs_server(driver):
        cls, server = samples.sample_class(driver), cast(ServerDriver, driver)
        looked |= set(server.server_looks_at(cls, ask.parameters, [ask.claim], samples.SETTINGS))
    planned = samples.planned(driver)
    made = {mint.ref for mint in samples.minted(planned)}
    made |= {Ref(o["kind"], o["metadata"]["name"], o["metadata"]["namespace"]) for o in samples.applied(planned)}
    assert {ref for ref in looked if ref.kind == "Secret" and not isinstance(ref, Theirs)} <= made


GRANTS = {
    "nobody else": (None, [{"podSelector": {}}]),
    "two": (
        {"names": ["b", "a"]},
        [
            {"podSelector": {}},
            {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "a"}}},
            {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "b"}}},
        ],
    ),
    "by label": (
        {"matchLabels": {"t": "1"}},
        [{"podSelector": {}}, {"namespaceSelector": {"matchLabels": {"t": "1"}}}],
    ),
    "everybody": ({"all": True}, [{"podSelector": {}}, {"namespaceSelector": {}}]),
}


@pytest.mark.parametrize(("grant", "peers"), GRANTS.values(), ids=GRANTS)
@pytest.mark.parametrize("kind", ["PostgreSQL", "Redis", "Bucket"])
def test_a_server_lets_in_whom_the_claims_owner_allows(kind: str, grant: Any, peers: Any) -> None:
    driver = next(each for each in samples.all_drivers() if (each.claim_kind, each.name) == (kind, "embedded"))
    ask = samples.sample_ask(driver)
    ask.claim.spec.allowed_namespaces = grant and msgspec.convert(grant, AllowedNamespaces)
    plan = driver.plan(ask, samples.everything_seen(driver, driver.looks_at(ask)))
    (policy,) = [obj for obj in samples.applied(plan.actions) if obj["kind"] == "NetworkPolicy"]
    assert peers in [rule.get("from") for rule in policy["spec"]["ingress"]]
