"""The driver `composition`: from a claim and a class to objects, an outcome and a connection."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from laws import samples
from libresh.api import CLAIMS
from libresh.api.claims import Claim
from libresh.catalog.settings import Settings
from libresh.drivers import drivers
from libresh.drivers.composition import readiness, render
from libresh.drivers.composition.model import ReadinessCheck, Resource
from libresh.drivers.connection import REQUIRED, USUAL, missing_keys
from libresh.drivers.model import Ask, Provision, Seen
from libresh.plan.actions import Apply, From, Literal, Object, Ref, SecretKey, Template, Theirs
from libresh.plan.decision import Settled, Stalled, Waiting

HERE = Path(__file__).parent
POSTGRESQL = Ref("postgresql.v1.acid.zalan.do", "libresh-my-db", "default")
SECRET = Theirs("Secret", "postgres.libresh-my-db.credentials.postgresql.acid.zalan.do", "default")


def founding(**parameters: Any) -> Ask:
    """The founding text's claim, served by its composition."""
    given = yaml.safe_load((HERE / "zalandopg.yaml").read_text())["spec"]["resources"]
    return ask_of({"resources": given, **parameters}, yaml.safe_load((HERE / "claim.yaml").read_text()))


def ask_of(parameters: Object, claim: Object) -> Ask:
    kind = next(kind for kind in CLAIMS if kind.KIND.kind == claim["kind"])
    driver = drivers()[claim["kind"], "composition"]
    made = msgspec.convert({**claim, "metadata": {"uid": "uid-1", **claim["metadata"]}}, kind)
    return Ask(made, "zalandopg", msgspec.convert(parameters, driver.parameters), True, Settings())


def plan(ask: Ask, seen: Seen | None = None) -> Provision:
    return drivers()[ask.claim.KIND.kind, "composition"].plan(ask, seen or Seen())


def refused(ask: Ask) -> str:
    stop = drivers()[ask.claim.KIND.kind, "composition"].refuse(ask)
    return stop.message if stop else ""


def applied(provision: Provision) -> list[Object]:
    return [action.object for action in provision.actions if isinstance(action, Apply)]


def live(ask: Ask, **status: Any) -> Object:
    """The first object as it is once it was made."""
    return {**applied(plan(ask))[0], "status": status}


def seen_all(ask: Ask, **status: Any) -> Seen:
    keys = frozenset(("username", "password"))
    return Seen({POSTGRESQL: live(ask, **status)}, {SECRET: samples.secret_view(SECRET, keys)})


# --- the founding text ------------------------------------------------------------


def test_the_founding_text_works_unchanged() -> None:
    ask = founding()
    assert refused(ask) == ""
    (made,) = applied(plan(ask))
    assert made == {
        "apiVersion": "acid.zalan.do/v1",
        "kind": "postgresql",
        "metadata": {
            "name": "libresh-my-db",
            "namespace": "default",
            "labels": {
                "app.kubernetes.io/managed-by": "libresh",
                "app.kubernetes.io/name": "composition",
                "app.kubernetes.io/instance": "my-db",
                "app.kubernetes.io/part-of": "libre.sh",
                "libre.sh/kept-for": "PostgreSQL.my-db",
                "libre.sh/kept-in": "default",
            },
        },
        "spec": {
            "databases": {},
            "numberOfInstances": 1,
            "postgresql": {"version": "12"},
            "teamId": "libresh",
            "users": {},
            "volume": {"size": "5G"},
        },
    }
    assert plan(ask).kept == (POSTGRESQL,)
    assert drivers()["PostgreSQL", "composition"].looks_at(ask) == (POSTGRESQL, SECRET)


def test_its_connection_is_complete_although_it_says_nothing_of_it() -> None:
    ask = founding()
    provision = plan(ask, seen_all(ask, PostgresClusterStatus="Running"))
    assert isinstance(provision.outcome, Settled)
    assert provision.connection is not None
    assert missing_keys("PostgreSQL", frozenset(provision.connection)) == ()
    assert provision.connection["host"] == Literal("libresh-my-db.default.svc")
    assert provision.connection["port"] == Literal("5432")
    assert provision.connection["database"] == Literal("postgres")
    assert provision.connection["provider"] == Literal("zalando")
    assert provision.connection["password"] == From(SecretKey("default", SECRET.name, "password"))
    uri = provision.connection["uri"]
    assert isinstance(uri, Template)
    assert uri.text.endswith("/${database}?sslmode=require")
    assert provision.instance == (
        "postgresql.v1.acid.zalan.do default/libresh-my-db; connection: Secret "
        f"default/{SECRET.name} of Zalando's postgres-operator"
    )


def test_how_it_stands() -> None:
    ask = founding()
    assert plan(ask).outcome == Waiting("Composing", f"{POSTGRESQL} is being made")
    creating = plan(ask, seen_all(ask, PostgresClusterStatus="Creating")).outcome
    assert creating == Waiting(
        "ComposedNotReady", f"{POSTGRESQL} is not ready: status.PostgresClusterStatus is Creating, not Running"
    )
    running = Seen({POSTGRESQL: live(ask, PostgresClusterStatus="Running")})
    provision = plan(ask, running)
    assert provision.connection is None
    assert provision.outcome == Waiting(
        "CredentialsMissing",
        f"Waiting for the Secret default/{SECRET.name} with password and username, which Zalando's postgres-operator "
        "makes",
    )


def test_its_own_database_and_role_are_taken_where_there_are() -> None:
    ask = founding()
    manifest = ask.parameters.resources[0].base["spec"]["forProvider"]["manifest"]
    manifest["spec"] |= {"users": {"app_owner": []}, "databases": {"app": "app_owner"}}
    (_, secret) = drivers()["PostgreSQL", "composition"].looks_at(ask)
    assert secret.name == "app-owner.libresh-my-db.credentials.postgresql.acid.zalan.do"


# --- nobody gets what the class's author did not mean ------------------------------------------------------------


def other_object(namespace: str = "default", name: str = "my-db") -> Object:
    made = live(founding(), PostgresClusterStatus="Running")
    labels = {"libre.sh/kept-for": f"PostgreSQL.{name}", "libre.sh/kept-in": namespace}
    return {**made, "metadata": {**made["metadata"], "labels": {**made["metadata"]["labels"], **labels}}}


@pytest.mark.parametrize("found", [other_object("other"), other_object(name="else")])
def test_an_object_of_another_claim_is_neither_used_nor_deleted(found: Object) -> None:
    ask = founding()
    secret = samples.secret_view(SECRET, frozenset(("username", "password")))
    provision = plan(ask, Seen({POSTGRESQL: found}, {SECRET: secret}))
    assert isinstance(provision.outcome, Stalled)
    assert provision.outcome.reason == "ObjectTaken"
    assert (provision.actions, provision.connection, provision.kept) == ((), None, ())


def test_labels_that_people_set_say_nothing_of_where_a_claim_is() -> None:
    claim = yaml.safe_load((HERE / "claim.yaml").read_text())
    claim["metadata"]["labels"] = {"crossplane.io/claim-namespace": "kube-system", "crossplane.io/claim-name": "x"}
    given = yaml.safe_load((HERE / "zalandopg.yaml").read_text())["spec"]["resources"]
    (made,) = applied(plan(ask_of({"resources": given}, claim)))
    assert made["metadata"]["namespace"] == "default"


def details(claim_kind: str) -> list[Object]:
    return [
        {"name": key, "fromConnectionSecretKey": key} for key in REQUIRED[claim_kind] if key not in ("type", "provider")
    ]


def mail(patches: list[Object], sender: str = "a@example.org", name: str = "box", **parameters: Any) -> Ask:
    """A mail account by another operator."""
    base = {
        "apiVersion": "mail.example.org/v1",
        "kind": "Account",
        "spec": {"writeConnectionSecretToRef": {"name": "its"}, "list": [{"a": 1}, {"a": 2}], "old": {"x": 1}},
    }
    resource = {"base": base, "patches": patches, "connectionDetails": details("SMTPAccount")}
    claim = {
        "kind": "SMTPAccount",
        "metadata": {"name": name, "namespace": "team"},
        "spec": {"parameters": {"sender": sender}},
    }
    return ask_of({"resources": [resource], **parameters}, claim)


SENDER = "spec.parameters.sender"


def test_a_namespace_that_a_name_leads_to_must_be_allowed() -> None:
    patches = [{"fromFieldPath": "metadata.name", "toFieldPath": "metadata.namespace"}]
    assert "the namespace kube-system; allowed are libresh-system, team" in refused(mail(patches, name="kube-system"))
    allowed = mail(patches, name="shared", namespaces=["shared"])
    assert applied(plan(allowed))[0]["metadata"]["namespace"] == "shared"
    base = mail([])
    assert applied(plan(base))[0]["metadata"]["namespace"] == "team"


def test_a_secret_is_not_read_where_a_name_leads_to() -> None:
    patches = [{"fromFieldPath": "metadata.name", "toFieldPath": "spec.writeConnectionSecretToRef.namespace"}]
    assert "a Secret would be read in the namespace kube-system" in refused(mail(patches, name="kube-system"))
    assert refused(mail(patches, name="team")) == ""


def test_a_parameter_cannot_bring_another_kind_name_or_owner() -> None:
    """Whole objects can be patched in, as JSON in a text may be: what they bring besides is refused or stays theirs."""
    into = [
        {"type": "string", "string": {"fmt": '{"kind": "Role", "name": "%s"}'}},
        {"type": "convert", "convert": {"toType": "object", "format": "json"}},
    ]
    ask = mail([{"fromFieldPath": SENDER, "toFieldPath": "spec", "transforms": into}])
    (made,) = applied(plan(ask))
    assert (made["kind"], made["metadata"]["name"]) == ("Account", "box")
    assert made["spec"] == {"kind": "Role", "name": "a@example.org"}
    looked = drivers()["SMTPAccount", "composition"].looks_at(ask)
    assert looked[1] == Theirs("Secret", "its", "team"), "the Secret is the one that the class's author named"


@pytest.mark.parametrize("value", ['x","injected":"1', "../../secrets", "%s%s%n", "$(rm)", "${password}", "{{ .a }}"])
def test_hostile_texts_stay_texts(value: str) -> None:
    as_text = [{"type": "string", "string": {"fmt": "<%s>"}}]
    patch = {"fromFieldPath": "metadata.annotations[note]", "toFieldPath": "spec.note", "transforms": as_text}
    ask = mail([patch])
    ask.claim.metadata.annotations["note"] = value
    (made,) = applied(plan(ask))
    assert made["spec"]["note"] == f"<{value}>"


def test_a_value_that_does_not_fit_is_refused_by_its_path_and_not_shown() -> None:
    patch = {
        "fromFieldPath": SENDER,
        "toFieldPath": "spec.count",
        "transforms": [{"type": "convert", "convert": {"toType": "int"}}],
    }
    said = refused(mail([patch], "hidden@example.org"))
    assert "resources[0].patches[0]: transforms[0]: the text is not a whole number" in said
    assert "hidden" not in said


def test_labels_must_be_texts() -> None:
    patch = {"fromFieldPath": "spec.parameters", "toFieldPath": "metadata.labels[x]"}
    assert "labels must be texts" in refused(mail([patch]))


# --- the vocabulary ------------------------------------------------------------


def combined(kind: str, sources: list[str], to: str, fmt: str) -> Object:
    variables = [{"fromFieldPath": source} for source in sources]
    return {
        "type": kind,
        "toFieldPath": to,
        "combine": {"strategy": "string", "string": {"fmt": fmt}, "variables": variables},
    }


PATCHED: dict[str, tuple[Object, Object]] = {
    "to the same path": ({"fromFieldPath": SENDER}, {"parameters": {"sender": "a@example.org"}}),
    "what is absent is left out": ({"fromFieldPath": "spec.parameters.none", "toFieldPath": "spec.a"}, {}),
    "to every element": (
        {"fromFieldPath": SENDER, "toFieldPath": "spec.list[*].from"},
        {"list": [{"a": 1, "from": "a@example.org"}, {"a": 2, "from": "a@example.org"}]},
    ),
    "several as one": (
        combined("CombineFromComposite", ["metadata.namespace", "metadata.name"], "spec.a", "%s-%s"),
        {"a": "team-box"},
    ),
    "replaced": ({"fromFieldPath": "spec.parameters", "toFieldPath": "spec.old"}, {"old": {"sender": "a@example.org"}}),
    "merged": (
        {"fromFieldPath": "spec.parameters", "toFieldPath": "spec.old", "policy": {"toFieldPath": "MergeObjects"}},
        {"old": {"x": 1, "sender": "a@example.org"}},
    ),
    "merged, in the older spelling": (
        {
            "fromFieldPath": "spec.parameters",
            "toFieldPath": "spec.old",
            "policy": {"mergeOptions": {"keepMapValues": True}},
        },
        {"old": {"x": 1, "sender": "a@example.org"}},
    ),
    "who claims": ({"fromFieldPath": "spec.claimRef.kind", "toFieldPath": "spec.a"}, {"a": "SMTPAccount"}),
}


@pytest.mark.parametrize("case", PATCHED)
def test_patches(case: str) -> None:
    patch, wanted = PATCHED[case]
    (made,) = applied(plan(mail([patch])))
    base = {"writeConnectionSecretToRef": {"name": "its"}, "list": [{"a": 1}, {"a": 2}], "old": {"x": 1}}
    assert made["spec"] == {**base, **wanted}


def test_what_is_required_and_absent_is_refused() -> None:
    patch = {"fromFieldPath": "spec.parameters.none", "toFieldPath": "spec.a", "policy": {"fromFieldPath": "Required"}}
    assert "spec.parameters.none is not set, and the class requires it" in refused(mail([patch]))


def test_defaults_of_a_claim_are_seen() -> None:
    claim: Claim = ask_of(
        {"resources": founding_resources()},
        {"kind": "PostgreSQL", "metadata": {"name": "a", "namespace": "b"}, "spec": {}},
    ).claim
    spec = render.composite_of(claim)["spec"]
    assert spec["parameters"] == {"storage": "5Gi", "version": "17", "extensions": [], "locale": "C"}


def founding_resources() -> list[Object]:
    found: list[Object] = yaml.safe_load((HERE / "zalandopg.yaml").read_text())["spec"]["resources"]
    return found


def two(policy: str) -> Ask:
    """A server and an account on it, which needs what the server says."""
    server = {
        "name": "server",
        "base": {"apiVersion": "mail.example.org/v1", "kind": "Server"},
        "readinessChecks": [{"type": "MatchTrue", "fieldPath": "status.up"}],
        "patches": [
            combined("CombineToComposite", ["status.host", "status.port"], "status.address", "%s:%d"),
            {"type": "ToCompositeFieldPath", "fromFieldPath": "status.host", "toFieldPath": "status.host"},
        ],
        "connectionDetails": [
            {"name": "host", "fromFieldPath": "status.host"},
            {"name": "port", "fromFieldPath": "status.port"},
        ],
    }
    account = {
        "name": "account",
        "base": {
            "apiVersion": "mail.example.org/v1",
            "kind": "Account",
            "spec": {"writeConnectionSecretToRef": {"name": "its", "namespace": "mail"}},
        },
        "readinessChecks": [{"type": "NonEmpty", "fieldPath": "status.id"}],
        "patches": [
            {"fromFieldPath": "status.address", "toFieldPath": "spec.server", "policy": {"fromFieldPath": policy}}
        ],
        "connectionDetails": [
            *({"fromConnectionSecretKey": key} for key in ("username", "password")),
            {"name": "tls", "value": "tls"},
            {"name": "sender", "value": "a@example.org"},
        ],
    }
    claim = {"kind": "SMTPAccount", "metadata": {"name": "box", "namespace": "team"}}
    return ask_of({"resources": [server, account]}, claim)


SERVER, ACCOUNT = (
    Ref("Server.v1.mail.example.org", "box-server", "team"),
    Ref("Account.v1.mail.example.org", "box-account", "team"),
)
ITS = Theirs("Secret", "its", "mail")


def test_one_resource_waits_for_what_another_says() -> None:
    ask = two("Required")
    first = plan(ask)
    assert [each["kind"] for each in applied(first)] == ["Server"]
    assert "status.address, which account needs" in first.outcome.message
    server = {**applied(first)[0], "status": {"host": "mx", "port": 587, "up": True}}
    keys = frozenset(("username", "password"))
    second = plan(ask, Seen({SERVER: server}, {ITS: samples.secret_view(ITS, keys)}))
    assert applied(second)[1]["spec"]["server"] == "mx:587"
    account = {**applied(second)[1], "status": {"id": "7"}}
    third = plan(ask, Seen({SERVER: server, ACCOUNT: account}, {ITS: samples.secret_view(ITS, keys)}))
    assert isinstance(third.outcome, Settled)
    assert third.connection is not None
    assert third.connection["host"] == Literal("mx")
    assert third.connection["port"] == Literal("587")
    assert third.connection["password"] == From(SecretKey("mail", "its", "password"))
    assert set(third.connection) == {*USUAL["SMTPAccount"]}


def test_where_it_is_optional_nothing_waits() -> None:
    assert [each["kind"] for each in applied(plan(two("Optional")))] == ["Server", "Account"]


def test_an_object_says_where_its_secrets_are() -> None:
    """`Object` of provider-kubernetes names Secrets that another operator makes."""
    keys = [key for key in REQUIRED["Redis"] if key not in ("type", "provider", "uri")]
    named = [
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "namespace": "caches",
            "fieldPath": f"data.redis-{key}",
            "toConnectionSecretKey": key,
        }
        for key in keys
    ]
    manifest = {"apiVersion": "redis.example.org/v1", "kind": "Redis", "metadata": {"namespace": "caches"}}
    base = {
        "apiVersion": "kubernetes.crossplane.io/v1alpha2",
        "kind": "Object",
        "spec": {"forProvider": {"manifest": manifest}, "connectionDetails": named},
    }
    patches = [
        {"fromFieldPath": "metadata.name", "toFieldPath": f"spec.connectionDetails[{at}].name"}
        for at in range(len(named))
    ]
    resource = {
        "base": base,
        "patches": patches,
        "connectionDetails": [{"fromConnectionSecretKey": key} for key in keys],
    }
    ask = ask_of({"resources": [resource]}, {"kind": "Redis", "metadata": {"name": "fast", "namespace": "team"}})
    source = Theirs("Secret", "fast", "caches")
    seen = Seen(secrets={source: samples.secret_view(source, frozenset(f"redis-{key}" for key in keys))})
    connection = plan(ask, seen).connection
    assert connection is not None
    assert connection["password"] == From(SecretKey("caches", "fast", "redis-password"))
    assert missing_keys("Redis", frozenset(connection)) == ()


CHECKS: dict[str, tuple[Object, Object, str]] = {
    "nothing": ({"type": "None"}, {}, ""),
    "there": ({"type": "NonEmpty", "fieldPath": "status.a"}, {"a": ""}, ""),
    "not there": ({"type": "NonEmpty", "fieldPath": "status.a"}, {}, "status.a is not there yet"),
    "the text": ({"type": "MatchString", "fieldPath": "status.a", "matchString": "x"}, {"a": "x"}, ""),
    "another text": (
        {"type": "MatchString", "fieldPath": "status.a", "matchString": "x"},
        {"a": "y"},
        "status.a is y, not x",
    ),
    "a number for a text": (
        {"type": "MatchString", "fieldPath": "status.a", "matchString": "1"},
        {"a": 1},
        "status.a is a whole number, not a text",
    ),
    "the number": ({"type": "MatchInteger", "fieldPath": "status.a[0]", "matchInteger": 3}, {"a": [3]}, ""),
    "true for a number": (
        {"type": "MatchInteger", "fieldPath": "status.a", "matchInteger": 1},
        {"a": True},
        "status.a is true, not 1",
    ),
    "true": ({"type": "MatchTrue", "fieldPath": "status.a"}, {"a": True}, ""),
    "not true": (
        {"type": "MatchTrue", "fieldPath": "status.a"},
        {"a": "true"},
        "status.a is a text, not true or false",
    ),
    "false": ({"type": "MatchFalse", "fieldPath": "status.a"}, {"a": False}, ""),
    "absent is not false": ({"type": "MatchFalse", "fieldPath": "status.a"}, {}, "status.a is not set, not false"),
    "the condition": (
        {"type": "MatchCondition", "matchCondition": {"type": "Up", "status": "True"}},
        {"conditions": [{"type": "Up", "status": "True"}]},
        "",
    ),
    "another condition": (
        {"type": "MatchCondition"},
        {"conditions": [{"type": "Ready", "status": "False"}]},
        "its condition Ready is False, not True",
    ),
    "no conditions": ({"type": "MatchCondition"}, {}, "its condition Ready is Unknown, not True"),
}


@pytest.mark.parametrize("case", CHECKS)
def test_readiness(case: str) -> None:
    wish, status, wanted = CHECKS[case]
    base = {"apiVersion": "example.org/v1", "kind": "Thing"}
    resource = Resource(base=base, readiness_checks=[msgspec.convert(wish, ReadinessCheck)])
    assert readiness.why_not(resource, base, {**base, "status": status}) == wanted


READY = [{"type": "Ready", "status": "True"}, {"type": "Synced", "status": "False"}]
POLICIES: dict[str, tuple[str, Object, str]] = {
    "once it is made": ("SuccessfulCreate", {}, ""),
    "once it is ready": ("DeriveFromObject", {"conditions": READY}, ""),
    "not ready": ("DeriveFromObject", {}, "its condition Ready is Unknown, not True"),
    "once all is true": ("AllTrue", {"conditions": READY}, "its conditions Synced are not True"),
}


@pytest.mark.parametrize("case", POLICIES)
def test_readiness_of_an_object(case: str) -> None:
    policy, status, wanted = POLICIES[case]
    manifest = {"apiVersion": "example.org/v1", "kind": "Thing"}
    spec = {"forProvider": {"manifest": manifest}, "readiness": {"policy": policy}}
    base = {"apiVersion": "kubernetes.crossplane.io/v1alpha1", "kind": "Object", "spec": spec}
    resource = Resource(base=base)
    assert readiness.why_not(resource, base, {**manifest, "status": status}) == wanted


def test_without_checks_the_condition_ready_says_it() -> None:
    base = {"apiVersion": "example.org/v1", "kind": "Thing"}
    assert readiness.why_not(Resource(base=base), base, {**base, "status": {"conditions": READY}}) == ""
