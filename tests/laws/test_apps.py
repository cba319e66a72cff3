"""Laws that every application package keeps, whoever wrote it."""

import re
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from libresh.api.apps import APP_NAME_LIMIT, ServingSpec
from libresh.api.claims import ClaimSpec
from libresh.api.meta import ObjectMeta
from libresh.apps import packages
from libresh.catalog.build import Builder, build_claim, is_own, task_mark, tasks, workloads
from libresh.catalog.model import AnyPackage, Binding, Cron, Instance, Task
from libresh.catalog.profile import field_type, spec_type
from libresh.catalog.settings import Settings
from libresh.drivers.connection import USUAL
from libresh.plan.actions import From, Hashed, Literal, Object, Random, SecretKey, Template
from libresh.plan.objects import USER
from libresh.reconcilers.appclaim import sources_of
from support import collabora_stub

SPECS: dict[str, list[dict[str, Any]]] = {
    "Matrix": [{}, {"mail": {}, "login": {}, "settings": {"registration": "Open"}}]
}
"""More specs than the smallest, by kind: what an application can do should be in one of them."""
SETTINGS = Settings(image_prefix="images.example.org", ca_bundle="ours")
SHARED = {"SMTPAccount": "mail-for-all", "OIDCClient": "people"}
"""Kinds whose classes run one server for all claims, with a class."""
LONGEST = "n" * APP_NAME_LIMIT
CASES = [(package, spec) for package in packages().values() for spec in SPECS.get(package.kind_name, [{}])]

every_package = pytest.mark.parametrize("package", packages().values(), ids=lambda package: package.kind_name)
every_case = pytest.mark.parametrize(
    ("package", "spec"), CASES, ids=[f"{package.kind_name}-{number}" for number, (package, _) in enumerate(CASES)]
)


def sample(package: AnyPackage, spec: dict[str, Any], name: str = LONGEST) -> Instance[Any]:
    """An instance with everything bound."""
    app = package.kind(
        metadata=ObjectMeta(name=name, namespace="team", uid="uid-of-app"),
        spec=msgspec.convert({"host": "app.example.org", **spec}, spec_type(package.kind)),
    )
    bindings = {
        need.role: Binding(
            role=need.role,
            claim_kind=need.claim.KIND.kind,
            namespace="team",
            secret=f"{name}-{need.suffix}-connection",
            digest=need.role,
            keys=frozenset(USUAL[need.claim.KIND.kind]),
            claim=f"{name}-{need.suffix}",
            driver="embedded",
            shared=SHARED.get(need.claim.KIND.kind, ""),
        )
        for need in package.needs(app, app.spec)
    }
    release = package.releases.choose(None)
    assert release is not None
    return Instance(app, app.spec, release, SETTINGS, bindings)


def builder_of(package: AnyPackage, spec: dict[str, Any]) -> Builder:
    instance = sample(package, spec)
    return Builder(instance, package.parts(instance))


def objects_of(package: AnyPackage, spec: dict[str, Any]) -> Iterator[Object]:
    """Everything that is applied."""
    builder = builder_of(package, spec)
    app = builder.app
    yield from (
        build_claim(app, need, None, deletion_policy="Retain") for need in package.needs(app, app.spec) if is_own(need)
    )
    yield from (action.object for action in builder.foundations())  # type: ignore[union-attr]
    yield from (builder.task(task) for task in tasks(builder.parts))
    done = [task_mark(task) for task in tasks(builder.parts)]
    yield from (builder.workload(each, {}, done) for each in workloads(builder.parts))


def pods_of(package: AnyPackage, spec: dict[str, Any]) -> Iterator[Object]:
    """The pod specs of all workloads and Jobs."""
    for each in objects_of(package, spec):
        inner = each.get("spec", {})
        inner = inner.get("jobTemplate", each).get("spec", {})
        if "template" in inner:
            yield inner["template"]["spec"]


@every_case
def test_same_instance_same_objects(package: AnyPackage, spec: dict[str, Any]) -> None:
    assert list(objects_of(package, spec)) == list(objects_of(package, spec))
    assert builder_of(package, spec).secrets() == builder_of(package, spec).secrets()


@every_case
def test_pods_meet_pod_security_restricted(package: AnyPackage, spec: dict[str, Any]) -> None:
    for pod in pods_of(package, spec):
        security = pod["securityContext"]
        assert (security["runAsNonRoot"], security["runAsUser"]) == (True, USER)
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["containers"] + pod.get("initContainers", []):
            own = container["securityContext"]
            assert own["allowPrivilegeEscalation"] is False
            assert own["capabilities"] == {"drop": ["ALL"]}
            assert own["readOnlyRootFilesystem"] is True
        for volume in pod.get("volumes", []):
            assert set(volume) <= {"name", "emptyDir", "configMap", "secret", "persistentVolumeClaim"}


@every_case
def test_pods_have_an_account_of_their_own_and_no_token(package: AnyPackage, spec: dict[str, Any]) -> None:
    accounts = {each["metadata"]["name"] for each in objects_of(package, spec) if each["kind"] == "ServiceAccount"}
    for pod in pods_of(package, spec):
        assert pod["automountServiceAccountToken"] is False
        assert pod["serviceAccountName"] in accounts


@every_case
def test_containers_say_what_they_use_and_come_from_the_one_prefix(package: AnyPackage, spec: dict[str, Any]) -> None:
    for pod in pods_of(package, spec):
        for container in pod["containers"]:
            assert container["image"].startswith("images.example.org/")
            assert not container["image"].endswith((":latest", ":"))
            assert set(container["resources"]["requests"]) == {"cpu", "memory"}
            assert set(container["resources"]["limits"]) == {"memory"}


@every_case
def test_what_keeps_running_is_probed_and_what_ends_is_not(package: AnyPackage, spec: dict[str, Any]) -> None:
    for component in builder_of(package, spec).parts.components:
        probes = {component.process.startup, component.process.readiness, component.process.liveness}
        if isinstance(component, Task | Cron):
            assert probes == {None}, f"{component.name}: a migration is never probed"
        elif component.process.ports:
            assert None not in probes, component.name


@every_case
def test_names_fit_also_the_longest(package: AnyPackage, spec: dict[str, Any]) -> None:
    for each in objects_of(package, spec):
        name = each["metadata"]["name"]
        assert re.fullmatch(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?", name), name
        assert each["kind"] != "CronJob" or len(name) <= 52, f"{name}: the API server takes no more for a CronJob"
        for value in each["metadata"]["labels"].values():
            assert re.fullmatch(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?", value), value


@every_case
def test_everything_goes_with_the_application_or_is_declared_as_kept(package: AnyPackage, spec: dict[str, Any]) -> None:
    builder = builder_of(package, spec)
    kept = {(each.kind, f"{builder.app.name}-{each.part}") for each in package.kept}
    made = [*objects_of(package, spec), *({"kind": "Secret", "metadata": m.metadata} for m in builder.secrets())]
    unowned = {(each["kind"], each["metadata"]["name"]) for each in made if "ownerReferences" not in each["metadata"]}
    assert unowned == kept
    assert all(each.why for each in package.kept)


@every_case
def test_random_values_are_kept_and_can_come_back(package: AnyPackage, spec: dict[str, Any]) -> None:
    for mint in builder_of(package, spec).secrets():
        for key, value in mint.values.items():
            if isinstance(value, Random):
                assert value.recover, f"{mint.ref} {key}: deleted, it would be lost"


@every_case
def test_secrets_are_nowhere_but_in_secrets(package: AnyPackage, spec: dict[str, Any]) -> None:
    """Every value that comes from another Secret goes into a Secret, or into a pod by reference."""
    for mint in builder_of(package, spec).secrets():
        for key, value in mint.values.items():
            if isinstance(value, Template):
                named = set(re.findall(r"(?<!\$)\$\{([^}]*)\}", value.text))
                assert named == set(value.values), f"{mint.ref} {key}"
            assert isinstance(value, Literal | Random | From | Hashed | Template)
            assert not (isinstance(value, Literal) and "password" in key)
    for pod in pods_of(package, spec):
        for container in pod["containers"]:
            assert not [each for each in container.get("env", []) if "PASSWORD" in each["name"] and "value" in each]


@every_case
def test_bindings_are_used_and_only_with_published_keys(package: AnyPackage, spec: dict[str, Any]) -> None:
    builder = builder_of(package, spec)
    needs = package.needs(builder.app, builder.app.spec)
    secrets = {binding.secret: binding.claim_kind for binding in builder.instance.bindings.values()}
    used = set()
    for place in places_of(builder):
        if place.name in secrets:
            assert place.key in USUAL[secrets[place.name]], place
            used.add(place.name)
    assert used == set(secrets), "a service that is asked for and not used"
    assert len({need.role for need in needs}) == len(needs)
    assert len({need.suffix for need in needs}) == len(needs)


def places_of(builder: Builder) -> Iterator[SecretKey]:
    """Every place a value is taken from."""
    for mint in builder.secrets():
        for value in mint.values.values():
            found = {**value.values} if isinstance(value, Template) else {"": getattr(value, "source", None)}
            yield from (place for place in found.values() if isinstance(place, SecretKey))
    for component in builder.parts.components:
        yield from (value for value in component.process.env.values() if isinstance(value, SecretKey))


@every_case
def test_claims_ask_for_what_their_kind_takes(package: AnyPackage, spec: dict[str, Any]) -> None:
    instance = sample(package, spec)
    for need in package.needs(instance.app, instance.spec):
        made = build_claim(instance.app, need, None, deletion_policy="Retain")
        claim = msgspec.convert(made, need.claim)
        assert isinstance(claim.spec, ClaimSpec)
        known = msgspec.to_builtins(claim.spec.parameters) if hasattr(claim.spec, "parameters") else {}
        for key, value in {**need.initial, **need.parameters}.items():
            assert known.get(key, value) == value


@every_package
def test_hosts_and_fields_are_really_there(package: AnyPackage) -> None:
    for path in (*package.host_fields, *package.own_only):
        assert field_type(spec_type(package.kind), path) is not None, path


@every_package
def test_commands_run_in_components_there_are_and_pass_no_secret_as_argument(package: AnyPackage) -> None:
    builder = builder_of(package, {})
    names = {each.name for each in workloads(builder.parts)}
    for command in package.commands:
        assert command.component in names
        answers = {each.name: f"answer-{each.name}" for each in command.arguments}
        argv = command.argv(answers)
        secret = {answers[each.name] for each in command.arguments if each.secret}
        assert not [word for word in argv for each in secret if each in word]
        if secret:
            assert command.stdin is not None
            assert secret <= set(command.stdin(answers).splitlines())


@every_package
def test_every_release_says_which_images_it_is_made_of(package: AnyPackage) -> None:
    for release in package.releases.known:
        assert release.images
        assert all(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", tag) for tag in release.images.values())


OFFERS = [package for package in (*packages().values(), collabora_stub.PACKAGE) if package.offer is not None]
"""Those that serve others; no built-in one does yet, so the contract stub stands for them."""
every_offer = pytest.mark.parametrize("package", OFFERS, ids=lambda package: package.title)


@every_offer
def test_what_serves_others_lets_its_owner_say_whom(package: AnyPackage) -> None:
    assert issubclass(spec_type(package.kind), ServingSpec)
    assert package.offer is not None
    assert package.kind_name == package.offer.kind.APP


@every_offer
def test_an_offer_says_every_published_key_and_no_other(package: AnyPackage) -> None:
    instance = sample(package, {})
    assert package.offer is not None
    values, schema = package.offer.connection(instance.app, instance.spec, SETTINGS), package.offer.kind.SCHEMA
    assert schema.missing({"type", "provider", *values}) == ()
    assert set(values) <= {*schema.required, *schema.optional}
    assert values == package.offer.connection(instance.app, instance.spec, SETTINGS)


@every_offer
def test_an_offer_names_secrets_of_the_application_and_tells_none(package: AnyPackage) -> None:
    instance = sample(package, {})
    assert package.offer is not None
    values = package.offer.connection(instance.app, instance.spec, SETTINGS)
    assert {source.namespace for source in sources_of(values)} <= {instance.app.namespace}
    assert not [key for key, value in values.items() if "password" in key and isinstance(value, Literal)]
    assert not [key for key, value in values.items() if isinstance(value, Random)], "it would be another for each claim"
