"""What a Matrix object becomes, in full.

`LIBRESH_REWRITE_GOLDEN=1 pytest tests/apps` writes the files anew: read the diff.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from libresh.api.meta import ObjectMeta
from libresh.apps.matrix.package import PACKAGE
from libresh.apps.matrix.spec import Matrix, MatrixSpec
from libresh.catalog.build import Builder, build_claim, is_own, task_mark, tasks, workloads
from libresh.catalog.model import Binding, Instance, Need
from libresh.catalog.settings import Settings
from libresh.drivers.connection import OPTIONAL, REQUIRED, USUAL
from libresh.plan.actions import From, Hashed, Literal, Mint, Random, SecretKey, Template, Value

GOLDEN = Path(__file__).parent / "golden"
SETTINGS = Settings(image_prefix="images.example.org", ca_bundle="-----BEGIN CERTIFICATE-----\nours\n")
SHARED = {"SMTPAccount": "mail-for-all", "OIDCClient": "people"}
"""Kinds whose classes run one server for all claims, with a class."""
OF_OTHERS: dict[str, frozenset[str]] = {
    # Synapse could not keep to a prefix.
    **{kind: frozenset({*USUAL[kind], *OPTIONAL[kind]} - {"prefix"}) for kind in ("PostgreSQL", "Redis", "Bucket")},
    "SMTPAccount": frozenset(REQUIRED["SMTPAccount"]),
}
"""The keys of Secrets that somebody made: of services over TLS, and of a relay that takes mail without log-in."""

CASES: dict[str, tuple[dict[str, Any], Settings]] = {
    "smallest": ({"host": "chat.example.org"}, Settings()),
    "everything": (
        {
            "host": "chat.example.org",
            "serverName": "example.org",
            "ingress": {"className": "nginx", "tls": {"clusterIssuer": "letsencrypt"}},
            "mail": {"className": "relay"},
            "login": {"secret": "provider"},
            "database": {"claim": "shared"},
            "settings": {"registration": "Open", "maxUploadSize": "100Mi", "passwordLogin": False},
        },
        SETTINGS,
    ),
    "secured": (
        {
            "host": "chat.example.org",
            "database": {"secret": "d"},
            "cache": {"secret": "c"},
            "objectStore": {"secret": "o"},
            "mail": {"secret": "m"},
        },
        SETTINGS,
    ),
    "closed": ({"host": "chat.example.org", "settings": {"federation": False, "metrics": False}}, Settings()),
}


def instance_of(spec: dict[str, Any], settings: Settings) -> Instance[MatrixSpec]:
    """An instance with everything bound."""
    app = Matrix(
        metadata=ObjectMeta(name="chat", namespace="acme", uid="uid-of-chat"), spec=msgspec.convert(spec, MatrixSpec)
    )
    bindings = {}
    for need in PACKAGE.needs(app, app.spec):
        name = need.wish.claim or f"chat-{need.suffix}"
        bindings[need.role] = Binding(
            role=need.role,
            claim_kind=need.claim.KIND.kind,
            namespace="acme",
            secret=need.wish.secret or f"{name}-connection",
            digest=f"digest of {need.role}",
            keys=keys_of(need),
            claim="" if need.wish.secret else name,
            driver="" if need.wish.secret else "embedded",
            shared="" if need.wish.secret else SHARED.get(need.claim.KIND.kind, ""),
        )
    release = PACKAGE.releases.choose(None)
    assert release is not None
    return Instance(app, app.spec, release, settings, bindings)


def keys_of(need: Need) -> frozenset[str]:
    """The keys of a connection."""
    kind = need.claim.KIND.kind
    usual = frozenset(USUAL[kind])
    return OF_OTHERS.get(kind, usual) if need.wish.secret else usual


def objects_of(spec: dict[str, Any], settings: Settings) -> Iterator[dict[str, Any]]:
    """Every object, in the order it is made."""
    instance = instance_of(spec, settings)
    for need in PACKAGE.needs(instance.app, instance.spec):
        if is_own(need):
            yield build_claim(instance.app, need, None, deletion_policy="Retain")
    builder = Builder(instance, PACKAGE.parts(instance))
    for mint in builder.secrets():
        yield shown(mint)
    for action in builder.foundations():
        yield action.object  # type: ignore[union-attr]
    done = []
    for task in tasks(builder.parts):
        yield builder.task(task)
        done.append(task_mark(task))
    for component in workloads(builder.parts):
        yield builder.workload(component, {"keys": "digest of keys"}, done)


def shown(mint: Mint) -> dict[str, Any]:
    """A Secret to be minted, with where its values come from."""
    values = {key: shown_value(value) for key, value in mint.values.items()}
    return {"kind": "Mint", "metadata": mint.metadata, "type": mint.type, "values": values}


def shown_value(value: Value) -> Any:
    match value:
        case Literal(value=text):
            return {"literal": text}
        case Random(bytes=count, form=form, recover=places):
            return {"random": f"{count} bytes, {form}", "recover": [shown_place(place) for place in places]}
        case From(source=place) | Hashed(key=place):
            return {type(value).__name__.lower(): shown_place(place)}
        case Template(text=text, values=places, quote=quote):
            shown_places = {name: shown_place(place) for name, place in places.items()}
            return {"template": text, "quote": quote, "values": shown_places}


def shown_place(place: "str | SecretKey") -> str:
    return place if isinstance(place, str) else f"{place.namespace}/{place.name}#{place.key}"


class Writer(yaml.SafeDumper):
    """Writes texts of several lines as blocks, and everything in full."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def represent(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


Writer.add_representer(str, represent)


@pytest.mark.parametrize("case", CASES)
def test_it_becomes_just_these_objects(case: str) -> None:
    found = [msgspec.to_builtins(each) for each in objects_of(*CASES[case])]
    for each in found:
        if each["metadata"]["name"] == "chat-tools":
            each["data"] = sorted(each["data"])  # code, which has its own tests
    text = yaml.dump_all(found, Dumper=Writer, sort_keys=True, width=1000)
    path = GOLDEN / f"{case}.yaml"
    if os.environ.get("LIBRESH_REWRITE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text, "if this is meant, write the golden files anew and read the diff"
