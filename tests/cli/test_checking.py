"""What `libresh class check` concludes of manifests."""

from typing import Any

import pytest

from libresh.api import CLAIMS
from libresh.api.meta import ObjectMeta
from libresh.cli import asking, checking
from libresh.cli.checking import Known, Report
from libresh.cli.documents import Document
from libresh.drivers import drivers
from libresh.drivers.connection import REQUIRED
from libresh.plan.actions import Ref, Theirs
from libresh.plan.decision import Stalled
from libresh.ports import SecretView
from libresh.reconcilers.serving import read_parameters

DEFAULT = {"services.libre.sh/is-default-class": "true"}
STATIC = {"secretRef": {"name": "pg"}}


def made(name: Any = "small", kind: Any = "PostgreSQL", driver: Any = "embedded", **more: Any) -> dict[str, Any]:
    """A manifest. `parameters` and other fields of the spec, `annotations` and other fields of the metadata."""
    metadata = {key: more.pop(key) for key in ("annotations", "annotation", "labels") if key in more}
    return {
        "apiVersion": "services.libre.sh/v1alpha1",
        "kind": "ServiceClass",
        "metadata": {"name": name, **metadata},
        "spec": {"claimKind": kind, "driver": driver, **more},
    }


def check(*contents: Any, known: Known | None = None) -> Report:
    documents = [Document("f", f"document {number}", content) for number, content in enumerate(contents, 1)]
    return checking.build_report(documents, known)


GOOD: dict[str, Any] = {
    "the least": made(),
    "parameters": made(parameters={"memory": "128Mi", "maxConnections": 50, "storageClass": "fast"}),
    "null is absent": made(parameters=None, deletionPolicy=None),
    "the default": made(annotations=DEFAULT),
    "not the default, said outright": made(annotations={"services.libre.sh/is-default-class": "false"}),
    "static": made(driver="static", parameters=STATIC),
    "parameters within parameters": made(
        kind="SMTPAccount", parameters={"smarthost": {"host": "smtp.example.org", "port": 25, "tls": "none"}}
    ),
    "somebody else's driver": made(driver="example.org/hosted", parameters={"whatever": [1]}),
    "as the cluster prints it": made() | {"status": {"claims": 3}},
}


@pytest.mark.parametrize("case", GOOD)
def test_nothing_to_correct(case: str) -> None:
    report = check(GOOD[case])
    assert report.findings == ()
    assert report.checked == ("small",)


BAD: dict[str, tuple[Any, str, str, str]] = {
    "a list": ([1], "", "it is a list, not an object", "apiVersion: services.libre.sh/v1alpha1"),
    "text": ("hello", "", "it is hello, not an object", "apiVersion"),
    "no kind": ({"apiVersion": "v1"}, "kind", "it is missing", "a class has ServiceClass"),
    "no version": ({"kind": "ServiceClass"}, "apiVersion", "it is missing", "services.libre.sh/v1alpha1"),
    "a kind that is a number": ({"apiVersion": "v1", "kind": 1}, "kind", "it is not text", "ServiceClass"),
    "another version": (made() | {"apiVersion": "services.libre.sh/v1"}, "apiVersion", "there is no", "v1alpha1"),
    "a misspelt kind": (made() | {"kind": "Serviceclass"}, "kind", "there is no Serviceclass", "write ServiceClass"),
    "a field at the top": (made() | {"parameters": {}}, "parameters", "there is no such field", "here may stand"),
    "no metadata": (made() | {"metadata": None}, "metadata.name", "it is missing", "name the class"),
    "no name": (made(name=None), "metadata.name", "it is missing", "name the class"),
    "a name that is a number": (made(name=7), "metadata.name", "it is missing", "name the class"),
    "a bad name": (made(name="Small_One"), "metadata.name", "Small_One does not fit", "only lower-case letters"),
    "a long name": (made(name="a" * 47), "metadata.name", "does not fit", "at most 46 characters"),
    "a name for the terminal": (made(name="\x1b[31mred"), "metadata.name", r"'\x1b[31mred'", "lower-case"),
    "annotation for annotations": (
        made(annotation=DEFAULT), "metadata.annotation", "there is no such field", "did you mean annotations?",
    ),
    "annotations as text": (made(annotations="x"), "metadata.annotations", "it is x", "a map"),
    "an unquoted truth": (
        made(annotations={"services.libre.sh/is-default-class": True}),
        "metadata.annotations.services.libre.sh/is-default-class", "true is not", 'put it in quotes: "true"',
    ),
    "another truth": (
        made(annotations={"services.libre.sh/is-default-class": "yes"}),
        "metadata.annotations.services.libre.sh/is-default-class", "not yes", 'write "true"',
    ),
    "the annotation of StorageClass": (
        made(annotations={"storageclass.kubernetes.io/is-default-class": "true"}),
        "metadata.annotations.storageclass.kubernetes.io/is-default-class", "does not make this class the default",
        "services.libre.sh/is-default-class",
    ),
    "no spec": (made() | {"spec": None}, "spec", "it is missing", "claimKind and driver"),
    "a spec that is a list": (made() | {"spec": []}, "spec", "it is a list, not a map", "claimKind and driver"),
    "a field of the spec": (made(paramters={}), "spec.paramters", "there is no such field", "did you mean parameters?"),
    "a field like none": (made(zzz=1), "spec.zzz", "there is no such field", "claimKind, driver, parameters"),
    "a field that is a number": (made() | {"spec": {**made()["spec"], 1: 2}}, "spec.1", "there is no", "claimKind"),
    "another kind of claim": (made(kind="Postgres"), "spec.claimKind", "Postgres is none of", "mean PostgreSQL?"),
    "a kind like none": (made(kind="Zebra"), "spec.claimKind", "Zebra is none of", "choose one of: Bucket, "),
    "no kind of claim": (made(kind=None), "spec.claimKind", "it is missing", "one of: Bucket, OIDCClient, "),
    "another policy": (made(deletionPolicy="retain"), "spec.deletionPolicy", "none of", "did you mean Retain?"),
    "a driver in capitals": (made(driver="Embedded"), "spec.driver", "Embedded does not fit", "lower-case letters"),
    "a misspelt driver": (
        made(driver="embeded"), "spec.driver", "no driver embeded for PostgreSQL; installed: ",
        "did you mean embedded?",
    ),
    "parameters as a list": (made(parameters=[1]), "spec.parameters", "does not fit", "a map"),
    "a misspelt parameter": (
        made(parameters={"memroy": "1Gi"}), "spec.parameters.memroy", "there is no such field", "did you mean memory?",
    ),
    "a parameter without a unit": (
        made(parameters={"memory": "128"}), "spec.parameters.memory", "128 does not fit", "above zero with a unit",
    ),
    "a parameter that must be text": (
        made(parameters={"storageClass": 5}), "spec.parameters.storageClass", "it must be text", 'in quotes: "5"',
    ),
    "a parameter without a value": (
        made(parameters={"memory": None}), "spec.parameters.memory", "it has no value", "a size above zero",
    ),
    "a parameter out of bounds": (
        made(parameters={"maxConnections": 1}), "spec.parameters.maxConnections", ">= 10", "from 10 up to 1000",
    ),
    "a parameter that is missing": (
        made(driver="static"), "spec.parameters.secretRef", "it is missing", "a map with the fields name, namespace",
    ),
    "a parameter within a parameter": (
        made(kind="SMTPAccount", parameters={"smarthost": {"host": "h", "prot": 25}}),
        "spec.parameters.smarthost.prot", "there is no such field", "did you mean port?",
    ),
    "a choice within a parameter": (
        made(kind="SMTPAccount", parameters={"smarthost": {"host": "h", "tls": "starttsl"}}),
        "spec.parameters.smarthost.tls", "starttsl is none of", "did you mean starttls?",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_one_thing_to_correct(case: str) -> None:
    content, field, reason, way_out = BAD[case]
    (finding,) = check(content).findings
    assert finding.field == field
    assert reason in finding.reason
    assert way_out in finding.way_out
    assert finding.source == "f"
    assert finding.document.startswith("document 1")


def test_everything_wrong_is_said_at_once() -> None:
    wrong = made(name="BAD", deletionPolicy="x", parameters={"memory": 1, "maxConnections": "many", "other": 1})
    assert {finding.field for finding in check(wrong).findings} == {
        "metadata.name",
        "spec.deletionPolicy",
        "spec.parameters.memory",
        "spec.parameters.maxConnections",
        "spec.parameters.other",
    }


VALUES: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    10**400,
    1.5,
    float("nan"),
    "",
    "x",
    "1Gi",
    "\x1b",
    [],
    [1],
    {},
    {"a": 1},
    {1: 2},
)


@pytest.mark.parametrize(("kind", "name"), drivers())
def test_it_says_no_exactly_where_the_operator_does(kind: str, name: str) -> None:
    """Whatever stands in the parameters: what is found agrees with how the operator reads them."""
    driver = drivers()[kind, name]
    fields = [*driver.parameters.__struct_encode_fields__, "unknown"]
    base = {"secretRef": {"name": "s"}} if name == "static" else {}
    for field in fields:
        for value in VALUES:
            parameters = {**base, field: value}
            refused = isinstance(read_parameters(driver, "c", parameters), Stalled)
            report = check(made(kind=kind, driver=name, parameters=parameters))
            assert bool(report.findings) == refused, (field, value, report.findings)
            assert all(each.field and each.reason and each.way_out for each in report.findings)


def test_other_kinds_are_skipped_by_name() -> None:
    others = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "acme"}},
        {"apiVersion": "servicecatalog.k8s.io/v1", "kind": "ServiceClass"},
        {"apiVersion": "v1", "kind": "\x1b", "metadata": 7},
    ]
    report = check(*others, made())
    assert [each.what for each in report.skipped] == ["Namespace acme", "ServiceClass", r"'\x1b'"]
    assert report.checked == ("small",)
    assert report.findings == ()


def test_what_could_not_be_read_is_a_finding() -> None:
    report = checking.build_report([Document("f", "document 1", broken="why", way_out="so")], None)
    assert [(each.reason, each.way_out) for each in report.findings] == [("why", "so")]


def test_without_a_cluster_it_says_what_it_did_not_look_at() -> None:
    assert check(made()).unchecked == (checking.OFFLINE,)
    assert check(made(), known=Known(classes=[])).unchecked == ()


def test_what_may_not_be_read_is_said() -> None:
    hidden = Known(classes=None, hidden=[Theirs("Secret", "pg", "libresh-system")])
    told = check(made(driver="static", parameters=STATIC), known=hidden)
    assert told.findings == ()
    assert "you may not list ServiceClasses" in told.unchecked[0]
    assert "Secret libresh-system/pg" in told.unchecked[1]


THERE = made("there", annotations=DEFAULT)

DEFAULTS: dict[str, tuple[list[Any], list[Any] | None, list[str]]] = {
    "one is fine": ([made("a", annotations=DEFAULT)], None, []),
    "two for one kind": (
        [made("a", annotations=DEFAULT), made("b", annotations=DEFAULT)],
        None,
        ["is also: b", "is also: a"],
    ),
    "two for two kinds": ([made("a", annotations=DEFAULT), made("b", "Redis", annotations=DEFAULT)], None, []),
    "one more in the cluster": ([made("a", annotations=DEFAULT)], [THERE], ["is also: there"]),
    "the cluster's own, that the file replaces": ([made("there", annotations=DEFAULT)], [THERE], []),
    "the cluster's own, that the file takes it from": (
        [made("a", annotations=DEFAULT), made("there")],
        [THERE],
        [],
    ),
    "one in the cluster that goes": (
        [made("a", annotations=DEFAULT)],
        [{**THERE, "metadata": {**THERE["metadata"], "deletionTimestamp": "2026-11-22T10:00:00Z"}}],
        [],
    ),
}


@pytest.mark.parametrize("case", DEFAULTS)
def test_defaults(case: str) -> None:
    contents, classes, wanted = DEFAULTS[case]
    report = check(*contents, known=None if classes is None else Known(classes=classes))
    assert [each.field for each in report.findings] == [
        "metadata.annotations.services.libre.sh/is-default-class" for _ in wanted
    ]
    for finding, reason in zip(report.findings, wanted, strict=True):
        assert reason in finding.reason


def test_one_name_twice() -> None:
    report = check(made(), made(kind="Redis"))
    assert [each.reason for each in report.findings] == ["f, document 2 bears it too", "f, document 1 bears it too"]


def test_what_cannot_change_of_a_class_that_exists() -> None:
    (finding,) = check(made(kind="Redis"), known=Known(classes=[made()])).findings
    assert finding.field == "spec.claimKind"
    assert finding.reason.startswith("it is PostgreSQL in the cluster. claimKind cannot be changed")
    assert finding.way_out == "Make another class"
    assert check(made(), known=Known(classes=[made()])).findings == ()


def view(*keys: str) -> SecretView:
    return SecretView(ObjectMeta(), "Opaque", frozenset(keys), "")


RELAY = {"smarthost": {"host": "h", "credentials": "relay"}}
HOME = "libresh-system"

SECRETS: dict[str, tuple[Any, Ref, SecretView | None, str, str]] = {
    "a static one that is missing": (
        made(driver="static", parameters=STATIC), Theirs("Secret", "pg", HOME), None,
        "spec.parameters.secretRef.name", "libresh-system/pg that ServiceClass small names does not exist",
    ),
    "a static one that lacks keys": (
        made(driver="static", parameters=STATIC), Theirs("Secret", "pg", HOME), view("host", "port"),
        "spec.parameters.secretRef.name", "lacks database, username, password, uri",
    ),
    "a static one that is complete": (
        made(driver="static", parameters=STATIC), Theirs("Secret", "pg", HOME), view(*REQUIRED["PostgreSQL"]), "", "",
    ),
    "a static one for another kind of claim": (
        made(kind="OIDCClient", driver="static", parameters={"secretRef": {"name": "pg", "namespace": "other"}}),
        Theirs("Secret", "pg", "other"), None, "spec.parameters.secretRef.name", "other/pg",
    ),
    "a relay's that is missing": (
        made(kind="SMTPAccount", parameters=RELAY), Theirs("Secret", "relay", HOME), None,
        "spec.parameters.smarthost.credentials", "the Secret libresh-system/relay does not exist",
    ),
    "a relay's that lacks keys": (
        made(kind="SMTPAccount", parameters=RELAY), Theirs("Secret", "relay", HOME), view("username"),
        "spec.parameters.smarthost.credentials", "lacks password",
    ),
    "a relay's that is complete": (
        made(kind="SMTPAccount", parameters=RELAY), Theirs("Secret", "relay", HOME), view("username", "password"),
        "", "",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", SECRETS)
def test_secrets(case: str) -> None:
    content, ref, secret, field, reason = SECRETS[case]
    documents = [Document("f", "document 1", content)]
    assert checking.wanted_secrets(documents) == (ref,)
    findings = checking.build_report(documents, Known(classes=[], secrets={ref: secret})).findings
    assert [each.field for each in findings] == ([field] if field else [])
    for finding in findings:
        assert reason in finding.reason
        assert f"make it in the namespace {ref.namespace}" in finding.way_out


def test_a_secret_that_may_not_be_read_is_not_called_missing() -> None:
    relay = made(kind="SMTPAccount", parameters=RELAY)
    ref = Theirs("Secret", "relay", HOME)
    report = check(relay, known=Known(classes=[], hidden=[ref]))
    assert report.findings == ()
    assert report.unchecked == ("Secret libresh-system/relay: you may not read it",)


def test_nothing_in_a_manifest_reaches_the_terminal_as_it_is() -> None:
    name = "\x1b[2Jgone"
    hostile = made(driver="static", parameters={"secretRef": {"name": name}})
    (ref,) = checking.wanted_secrets([Document("f", "document 1", hostile)])
    report = check(hostile, made(name=name, zzz=1) | {name: 1}, known=Known(classes=[], secrets={ref: None}))
    assert len(report.findings) == 4
    assert "\x1b" not in str(report.as_json())
    assert all("\x1b" not in text for each in report.findings for text in (each.document, each.field, each.reason))


def test_a_manifest_that_is_wrong_asks_for_no_secrets() -> None:
    wrong = made(driver="static", parameters={**STATIC, "x": 1})
    assert checking.wanted_secrets([Document("f", "document 1", wrong)]) == ()


@pytest.mark.parametrize("kind", [each.KIND.kind for each in CLAIMS])
def test_every_kind_of_claim_has_an_example(kind: str) -> None:
    assert asking.example_claim(kind).KIND.kind == kind
