"""What `libresh claim explain` concludes of a claim."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from click import unstyle

from libresh.api import CLAIMS, Bucket, PostgreSQL, Redis, ServiceClass
from libresh.api.claims import Claim
from libresh.api.meta import ObjectMeta, OwnerReference
from libresh.apps.matrix.spec import Matrix
from libresh.cli import claims, explanation, swapping
from libresh.cli.explanation import Explanation
from libresh.cli.surroundings import Owner, Seen
from libresh.drivers.connection import REQUIRED
from libresh.ports import SecretView

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
AGO = "2026-11-22T10:00:00Z"
DEFAULT = {"services.libre.sh/is-default-class": "true"}


def condition(type: str, status: str, message: str = "m", generation: int = 0) -> dict[str, Any]:
    told = {"type": type, "status": status, "reason": "R", "message": message, "lastTransitionTime": AGO}
    return told | {"observedGeneration": generation}


READY = [condition("Ready", "True")]


def claim(type: type[Claim] = PostgreSQL, spec: dict[str, Any] | None = None, **status: Any) -> Claim:
    """A claim called db; with `served` a class serves it."""
    served = status.pop("served", "")
    if served:
        status = {"className": served, "driver": "embedded", "capabilities": ["expand", "quota"], **status}
        status.setdefault("binding", {"name": f"db-{type.KIND.kind.lower()}-connection"})
        status.setdefault("conditions", READY)
    if type.KIND.kind == "OIDCClient":
        spec = {"parameters": {"redirectUris": ["https://example.org/"]}, **(spec or {})}
    metadata = {"name": "db", "namespace": "acme", "uid": "u", "generation": 3}
    return msgspec.convert({"metadata": metadata, "spec": spec or {}, "status": status}, type)


def cls(name: str, kind: str = "PostgreSQL", *, default: bool = False, **more: Any) -> ServiceClass:
    """A class; what is more is its spec, but for its status and the time of its deletion."""
    status = {"conditions": READY, "capabilities": ["expand", "quota"], **more.pop("status", {})}
    metadata = {"name": name, "annotations": DEFAULT if default else {}, **more.pop("metadata", {})}
    spec = {"claimKind": kind, "driver": "embedded", **more}
    return msgspec.convert({"metadata": metadata, "spec": spec, "status": status}, ServiceClass)


def secret(*keys: str, owner: str = "u") -> SecretView:
    owners = [OwnerReference(api_version="v", kind="PostgreSQL", name="db", uid=owner, controller=True)]
    return SecretView(ObjectMeta(name="s", owner_references=owners), "Opaque", frozenset(keys), "")


def explain(claim: Claim, *classes: ServiceClass, **more: Any) -> Explanation:
    return explanation.build_explanation(Seen(**{"claim": claim, "now": NOW, "classes": classes, **more}), "ready")


STD, HA = cls("std", default=True), cls("ha")
NAMED = {"className": "std"}

CHOICES: dict[str, tuple[Claim, list[ServiceClass], tuple[str, bool], list[str]]] = {
    "named, and serving": (claim(spec=NAMED, served="std"), [STD], ("std", True), ["spec.className names it"]),
    "named in the other spelling": (
        claim(spec={"compositionRef": {"name": "std"}}, served="std"), [STD], ("std", True),
        ["spec.compositionRef names it"],
    ),
    "the default then and now": (
        claim(served="std"), [STD], ("std", True),
        ["spec.className is not set", "the default class of PostgreSQL when", 'is-default-class: "true"'],
    ),
    "the default then, another one now": (
        claim(served="ha"), [STD, HA], ("ha", True), ["it no longer has the annotation", "(default now: std)"],
    ),
    "the default then, none now": (claim(served="ha"), [HA], ("ha", True), ["(default now: none)"]),
    "another one is named than serves": (
        claim(spec=NAMED, served="ha"), [STD, HA], ("ha", True), ["spec.className names std, but ha served it first"],
    ),
    "a class that is gone": (claim(spec=NAMED, served="std"), [], ("std", True), ["there is no such class any more"]),
    "named, nothing made": (claim(spec=NAMED), [STD], ("std", False), ["names it", "nothing has been made yet"]),
    "the default, nothing made": (claim(), [STD, HA], ("std", False), ["it is the default", "nothing has been made"]),
    "no default": (claim(), [HA], ("", False), ["no class for PostgreSQL is the default; name one of: ha"]),
    "several defaults": (
        claim(), [STD, cls("b", default=True)], ("", False), ["several classes are the default: b, std"],
    ),
    "a class that does not exist": (claim(spec={"className": "x"}), [STD], ("", False), ["there is no ServiceClass x"]),
    "a class of another kind": (
        claim(spec={"className": "c"}), [STD, cls("c", "Redis")], ("", False), ["serves Redis, not PostgreSQL"],
    ),
    "a class that is being deleted": (
        claim(spec=NAMED), [cls("std", metadata={"deletionTimestamp": AGO})], ("", False), ["is being deleted"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CHOICES)
def test_which_class_and_why(case: str) -> None:
    given, classes, wanted, why = CHOICES[case]
    choice = explain(given, *classes).choice
    assert (choice.name, choice.provisioned) == wanted
    assert bool(choice.driver) == bool(choice.name)
    for words in why:
        assert words in choice.why


def test_where_classes_may_not_be_listed_the_record_speaks() -> None:
    told = explain(claim(served="ha", deletionPolicy="Delete"), classes=None)
    assert told.choice.name == "ha"
    assert (told.deletion_policy.value, told.swap.classes) == ("Delete", None)
    assert "libresh-cluster-view" in told.parameters
    assert "cannot be told" in explain(claim(), classes=None).choice.why


PARAMETERS: dict[str, tuple[dict[str, Any], dict[str, Any], list[tuple[str, Any, Any]]]] = {
    "the same": ({"memory": "1Gi"}, {"memory": "1Gi"}, []),
    "one was changed": ({"memory": "1Gi"}, {"memory": "2Gi"}, [("memory", "1Gi", "2Gi")]),
    "one came, one went": ({"a": 1}, {"b": 2}, [("a", 1, None), ("b", None, 2)]),
    "one within another": (
        {"s": {"host": "h", "port": 25}},
        {"s": {"host": "h", "port": 26}},
        [("s.port", 25, 26)],
    ),
}


@pytest.mark.parametrize("case", PARAMETERS)
def test_parameters_that_were_changed_since(case: str) -> None:
    recorded, now, wanted = PARAMETERS[case]
    told = explain(claim(served="std", parameters=recorded), cls("std", parameters=now))
    assert [(each.parameter, each.claim, each.cls) for each in told.differences] == wanted
    assert ("keeps what it was provisioned with" in told.parameters) == bool(wanted)


def test_a_server_of_the_class_follows_the_class() -> None:
    mail = next(each for each in CLAIMS if each.KIND.kind == "SMTPAccount")
    told = explain(claim(mail, served="m", parameters={}), cls("m", "SMTPAccount", parameters={"domain": "d"}))
    assert "what concerns the server it runs for all its claims is in effect" in told.parameters


OWNER = Owner(Matrix(metadata=ObjectMeta(name="chat", namespace="acme")), "database", True)

POLICIES: dict[str, tuple[Claim, list[ServiceClass], Owner | None, tuple[str, str]]] = {
    "the claim's": (claim(spec={"deletionPolicy": "Delete"}, served="std"), [STD], None, ("Delete", "of the claim")),
    "the application's": (
        claim(spec={"deletionPolicy": "Delete"}, served="std"), [STD], OWNER, ("Delete", "as matrix/chat says"),
    ),
    "the class's, as it is now": (
        claim(served="std", deletionPolicy="Retain"), [cls("std", deletionPolicy="Delete")], None,
        ("Delete", "ServiceClass std"),
    ),
    "the record's, where the class is gone": (
        claim(served="std", deletionPolicy="Delete"), [], None, ("Delete", "ServiceClass std is gone"),
    ),
    "the class's that would serve": (claim(), [STD], None, ("Retain", "ServiceClass std")),
    "nobody's yet": (claim(), [HA], None, ("", "the class decides")),
}  # fmt: skip


@pytest.mark.parametrize("case", POLICIES)
def test_deletion_policy(case: str) -> None:
    given, classes, owner, (value, source) = POLICIES[case]
    policy = explain(given, *classes, owner=owner).deletion_policy
    assert policy.value == value
    assert source in policy.source


KEYS = REQUIRED["PostgreSQL"]

CONNECTIONS: dict[str, tuple[Claim, dict[str, Any], bool | None, tuple[str, ...], str]] = {
    "complete": (claim(served="std"), {"secret": secret(*KEYS, "more")}, True, (), ""),
    "incomplete": (claim(served="std"), {"secret": secret(*KEYS[:-1])}, True, ("uri",), "it is not complete"),
    "missing": (claim(served="std"), {}, False, KEYS, "written again by the operator"),
    "not written yet": (claim(), {}, False, KEYS, "once it is complete"),
    "not published yet": (claim(), {"secret": secret(*KEYS)}, True, (), "not published it yet"),
    "somebody else's": (claim(), {"secret": secret(*KEYS, owner="other")}, True, (), "is not this claim's"),
    "hidden": (claim(served="std"), {"secret_hidden": True}, None, (), "you may not read Secrets in acme"),
}


@pytest.mark.parametrize("case", CONNECTIONS)
def test_connection(case: str) -> None:
    given, more, exists, lacks, note = CONNECTIONS[case]
    found = explain(given, STD, **more).connection
    assert (found.secret, found.exists, found.lacks) == ("db-postgresql-connection", exists, lacks)
    assert note in found.note
    assert bool(note) == bool(found.note)


def test_conditions_in_words() -> None:
    conditions = [
        condition("Ready", "False", "Waiting for the volume", 2),
        condition("Stalled", "True"),
        condition("Odd", "Unknown", ""),
    ]
    assert [each.words for each in explain(claim(served="std", conditions=conditions)).conditions] == [
        "it is not ready, for 2 h (of an earlier edit): Waiting for the volume",
        "it cannot go on until somebody changes something, for 2 h: m",
        "Odd is Unknown, for 2 h",
    ]


def kind(name: str) -> type[Claim]:
    return next(each for each in CLAIMS if each.KIND.kind == name)


DATA: dict[str, tuple[Claim, bool]] = {
    "a database": (claim(PostgreSQL, served="std"), True),
    "a bucket": (claim(Bucket, served="std"), True),
    "a cache": (claim(Redis, served="std"), False),
    "a cache that persists": (claim(Redis, {"parameters": {"persistence": True}}, served="std"), True),
    "a mail account": (claim(kind("SMTPAccount"), served="std"), False),
    "an identity client": (claim(kind("OIDCClient"), served="std"), False),
}


@pytest.mark.parametrize("case", DATA)
def test_what_must_be_moved(case: str) -> None:
    given, data = DATA[case]
    swap = explain(given, cls("std", given.KIND.kind), cls("ha", given.KIND.kind)).swap
    assert ("must be moved" in swap.data) == data
    assert "the API server refuses another className" in swap.now
    assert swap.steps[0].startswith(f"make a new {given.KIND.kind} in acme with spec.className: CLASS")
    assert any("stop what writes" in step for step in swap.steps) == data
    assert f"kubectl -n acme delete {given.KIND.kind.lower()}/db" in swap.steps[-1]


@pytest.mark.parametrize("type", CLAIMS)
def test_every_kind_of_claim_says_what_moving_it_takes(type: type[Claim]) -> None:
    assert type.KIND.kind in swapping.MEANS or type.KIND.kind in swapping.WITHOUT_DATA


STEPS: dict[str, tuple[Claim, Owner | None, list[str], str]] = {
    "nothing was made": (
        claim(), None, ["""patch postgresql/db --type merge -p '{"spec":{"className":"CLASS"}}'"""],
        "can still be chosen",
    ),
    "nothing was made, in the other spelling": (
        claim(spec={"compositionRef": {"name": "std"}}), None, ['"compositionRef":null'], "can still be chosen",
    ),
    "nothing was made for an application": (
        claim(), OWNER, ["className: CLASS in spec.database of matrix/chat"], "can still be chosen",
    ),
    "nothing was made for an application that named a class": (
        claim(spec=NAMED), OWNER, ["className: CLASS in spec.database of matrix/chat"], "can still be chosen",
    ),
    "an application's data": (
        claim(served="std"), OWNER,
        ["make another Matrix with className: CLASS in spec.database", "own means", "before matrix/chat"],
        "matrix/chat, for which this claim was made, refuses another one once it has run",
    ),
    "an application's cache": (
        claim(Redis, served="std"), replace(OWNER, role="cache", data=False),
        ["make a new Redis in acme", "write spec.cache of matrix/chat as {claim: NEW}"], "a claim keeps the class",
    ),
    "an application's need that cannot be told": (
        claim(Redis, served="std"), replace(OWNER, role=""), ["make a new Redis", "write its spec of matrix/chat"],
        "a claim keeps the class",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", STEPS)
def test_steps(case: str) -> None:
    given, owner, wanted, now = STEPS[case]
    swap = explain(given, STD, HA, owner=owner).swap
    assert len(swap.steps) == len(wanted)
    for step, words in zip(swap.steps, wanted, strict=True):
        assert words in step
    assert now in swap.now


def test_other_classes_by_what_they_can_do_and_whether_they_could_now() -> None:
    stalled = [condition("Ready", "False", "not ready"), condition("Stalled", "True", "spec.driver: unknown")]
    classes = [
        STD,
        cls("ha", status={"capabilities": ["expand", "ha"]}),
        cls("broken", status={"conditions": stalled}),
        cls("new", status={"conditions": [], "capabilities": []}),
        cls("old", metadata={"deletionTimestamp": AGO}),
        cls("starting", status={"conditions": [condition("Ready", "False", "it starts")]}),
        cls("cache", "Redis"),
    ]
    found = explain(claim(served="std"), *classes).swap.classes
    assert found is not None
    assert [(each.name, each.gains, each.loses, each.obstacle) for each in found] == [
        ("broken", (), (), "spec.driver: unknown"),
        ("ha", ("ha",), ("quota",), ""),
        ("new", (), (), "no operator has looked at it yet"),
        ("old", (), (), "it is being deleted"),
        ("starting", (), (), "it starts"),
    ]


def test_other_classes_are_held_to_what_the_claim_requires() -> None:
    given = claim(spec={"requires": ["ha", "expand"]}, served="std")
    found = explain(given, STD, HA, cls("wide", status={"capabilities": ["expand", "ha"]})).swap.classes
    assert found is not None
    assert [(each.name, each.obstacle) for each in found] == [
        ("ha", "it does not promise ha, which spec.requires asks for"),
        ("wide", ""),
    ]


REQUIRING: dict[str, tuple[dict[str, Any], str, str]] = {
    "nothing": ({}, "std", ""),
    "what it can": ({"requires": ["quota", "expand"]}, "std", "quota, expand"),
    "more than it can": ({"requires": ["ha", "expand"]}, "std", "ha, expand; it cannot do ha"),
    "more than the class promises": ({"requires": ["ha"]}, "", "ha"),
}


@pytest.mark.parametrize("case", REQUIRING)
def test_what_a_claim_requires(case: str) -> None:
    spec, served, words = REQUIRING[case]
    told = explain(claim(spec=spec, served=served), STD, HA)
    assert told.requires == words
    lines = [unstyle(line) for line in claims.render(told)]
    assert [line for line in lines if line.startswith("must ")] == ([f"must        {words}"] if words else [])
    if not served and words:
        assert told.choice.name == ""
        assert told.choice.why.startswith("spec.requires: ServiceClass std (driver embedded) does not promise ha; ")


def test_nothing_is_served_as_json_that_json_has_not() -> None:
    told = explain(claim(served="std", parameters={"a": {"b": [1]}}), STD, HA, secret=secret(*KEYS), owner=OWNER)
    msgspec.json.encode(told.as_json())
    assert told.as_json()["choice"]["name"] == "std"


def test_the_screen() -> None:
    given = claim(
        served="std",
        parameters={"memory": "128Mi"},
        instance={"driver": "embedded", "ref": "StatefulSet acme/db-pg (PostgreSQL)"},
    )
    classes = [cls("std", default=True, parameters={"memory": "256Mi", "maxConnections": 50}), HA]
    told = explain(given, *classes, secret=secret(*KEYS[:-1]))
    assert "\n".join(unstyle(line) for line in claims.render(told)) == SCREEN.strip("\n")


COPIED = {"className": "std", "source": {"claim": {"name": "old"}, "at": "2026-01-31T13:00:00+01:00"}}
WINDOWS: dict[str, tuple[dict[str, Any], str]] = {
    "whole": (
        {"earliest": "2026-01-01T03:00:00Z", "latest": "2026-01-31T03:00:00Z"},
        "from 2026-01-01T03:00:00Z on, last backup 2026-01-31T03:00:00Z",
    ),
    "no backup yet": ({"earliest": "2026-01-01T03:00:00Z"}, "from 2026-01-01T03:00:00Z on"),
    "no beginning": ({"latest": "2026-01-31T03:00:00Z"}, "since when is not told, last backup 2026-01-31T03:00:00Z"),
}


@pytest.mark.parametrize("case", WINDOWS)
def test_what_can_be_restored(case: str) -> None:
    window, words = WINDOWS[case]
    told = explain(claim(served="std", recoveryWindow=window), STD)
    assert told.restorable == words
    assert f"restorable  {words}" in [unstyle(line) for line in claims.render(told)]
    assert explain(claim(served="std"), STD).restorable == ""


def test_what_a_claim_began_with() -> None:
    told = explain(claim(spec=COPIED, served="std"), STD)
    assert told.source == "the data of postgresql/old as it was at 2026-01-31T13:00:00+01:00"
    assert f"began with  {told.source}" in [unstyle(line) for line in claims.render(told)]
    now = explain(claim(spec={"source": {"claim": {"name": "old"}}}), STD)
    assert now.source == "the data of postgresql/old as it was at the time it was copied"
    assert explain(claim(served="std"), STD).source == ""
    assert explain(claim(Redis, served="std"), cls("std", "Redis")).source == ""


def test_a_service_that_can_be_copied_says_how_its_data_can_be_moved() -> None:
    told = explain(claim(served="std", driver="zalando", capabilities=["clone"]), STD)
    words = "with another class of the driver zalando, make the new claim with spec.source: {claim: {name: db}}"
    assert words in told.swap.data
    assert "spec.source" not in explain(claim(served="std"), STD).swap.data


def test_the_screen_where_nothing_is_known() -> None:
    told = explain(claim(), classes=None, secret_hidden=True)
    lines = [unstyle(line) for line in claims.render(told)]
    assert "class       none: no class serves it yet" in "\n".join(lines)
    assert "secret      db-postgresql-connection: you may not read Secrets in acme" in lines
    assert "no operator has looked at it yet: libresh logs operator" in lines
    assert lines[-1].startswith("which classes there are cannot be told")


SCREEN = """
postgresql/db in acme  ready

class       std: spec.className is not set, and it was the default class of PostgreSQL when the claim was
            provisioned; it still has the annotation services.libre.sh/is-default-class: "true"
driver      embedded
behind it   StatefulSet acme/db-pg (PostgreSQL)
can         expand, quota
parameters  the class was changed since: this claim keeps what it was provisioned with
              maxConnections: not set here, 50 in the class now
              memory: 128Mi here, 256Mi in the class now
deletion    Retain: ServiceClass std says so, and the claim has no spec.deletionPolicy
secret      db-postgresql-connection has type, provider, host, port, database, username, password; lacks uri; it
            is not complete

CONDITIONS
it is ready, for 2 h: m (R)

TO CHANGE
spec.parameters.storage: grows; the volume grows, where its StorageClass can. Downwards never: no
volume can be made smaller without risking what is on it. Keep the size it has, or make a smaller
claim and move the data to it
spec.parameters.version: operation; another major version has another format on disk, and the
operation that converts it is not there yet. Make a new claim of the other version and move the data
to it
spec.parameters.extensions: allowed; what is added is created; what is taken out stays until
somebody drops it
spec.parameters.locale: refused; PostgreSQL fixes it when the database is made. Make a new claim
with the other locale and move the data to it

TO SWAP
A claim keeps the class that serves it: the API server refuses another className, and libre.sh does
not move a claim from std to another class.
Its data must be moved: dump the old database with pg_dump and restore it into the new one.
1. make a new PostgreSQL in acme with spec.className: CLASS; it begins empty
2. stop what writes to the old one, and dump the old database with pg_dump and restore it into the new one
3. let whoever uses the Secret db-postgresql-connection use the new claim's instead: NEW-postgresql-connection
4. when nothing uses the old one any more: kubectl -n acme delete postgresql/db (its data: see deletion)

CLASS  DRIVER    DEFAULT  CAN            MORE  LESS  NOW
ha     embedded  -        expand, quota  -     -     can serve
"""


@pytest.mark.parametrize("type", CLAIMS)
def test_it_tells_what_can_be_changed(type: type[Claim]) -> None:
    told = explain(claim(type, served="std"), cls("std", type.KIND.kind))
    asked = claim(type).asked.__struct_encode_fields__
    assert {each.parameter for each in told.changes} == {f"spec.parameters.{name}" for name in asked}
    assert all(each.words for each in told.changes)


def test_it_tells_what_the_driver_refuses() -> None:
    told = explain(claim(Redis, served="std"), cls("std", "Redis"))
    assert ("spec.parameters.persistence", "refused") in {(each.parameter, each.verdict) for each in told.changes}
    screen = unstyle("\n".join(claims.render(told)))
    assert "TO CHANGE" in screen
    assert "spec.parameters.persistence: refused; the server would begin empty" in " ".join(screen.split())


def test_a_class_that_is_closed_to_the_namespace_cannot_serve() -> None:
    closed = cls("closed", allowedNamespaces={"matchLabels": {"tier": "paid"}})
    (other,) = explain(claim(served="std"), STD, closed).swap.classes or ()
    assert other.obstacle == "it does not allow the namespace acme"
    (other,) = explain(claim(served="std"), STD, closed, labels={"tier": "paid"}).swap.classes or ()
    assert other.obstacle == ""
