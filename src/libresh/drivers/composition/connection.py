"""From the resources of a composition to the connection secret: where each of its keys comes from. Pure.

A key comes from a Secret (`FromConnectionSecretKey`), a field of the object (`FromFieldPath`) or the class
(`FromValue`). The Secret is the one the object writes by `spec.writeConnectionSecretToRef`, one that an `Object` names
in `spec.connectionDetails`, or where the operator's ways are known (`known.py`) the one it makes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from libresh.drivers.composition import gotext, known, paths, shape
from libresh.drivers.composition.model import Composition, ConnectionDetail, Resource
from libresh.drivers.connection import REQUIRED, TYPES
from libresh.plan.actions import From, Literal, Object, SecretKey, Template, Value

SECRETS = ("password", "secret-access-key", "client-secret")
"""Keys whose values are secret, whoever provides them."""

URIS = {
    "PostgreSQL": ("postgresql://${username}:${password}@${host}:${port}/${database}", "url"),
    "Redis": ("redis://${username}:${password}@${host}:${port}/0", "url"),
    "Bucket": ("s3://${access-key-id}:${secret-access-key}@${host}:${port}/${bucket}", "url"),
    "SMTPAccount": ("smtp://${username}:${password}@${host}:${port}", "url"),
    "OIDCClient": ("${issuer}", ""),
}
"""The `uri` of each kind where nothing else says it, of its other keys."""
PARTS = {kind: tuple(part.split("}")[0] for part in text.split("${")[1:]) for kind, (text, _) in URIS.items()}


@dataclass(frozen=True)
class Made:
    """One resource for one claim, as far as its claim's author has no say in it."""

    resource: Resource
    label: str
    """How it is called in messages."""
    skeleton: Object
    """Base and the patches that follow the claim's identity: says kind, name, namespace and Secrets."""
    name: str
    namespace: str
    ways: known.Known | None = None

    @property
    def manifest(self) -> Object:
        return shape.manifest_of(self.skeleton)

    @property
    def facts(self) -> known.Facts | None:
        return self.ways.facts(self.manifest, self.name, self.namespace) if self.ways else None


@dataclass(frozen=True)
class Connection:
    """The values as far as they can be had, and what is waited for."""

    values: Mapping[str, Value] = field(default_factory=dict)
    waits: tuple[str, ...] = ()


# --- before there is a claim -------------------------------------------------------------------------------------


def static_keys(composition: Composition, claim_kind: str) -> frozenset[str]:
    """The keys a composition gives, whatever the claim."""
    found = {"type", "provider"}
    for resource in composition.resources:
        found |= {detail.key for detail in resource.connection_details}
        manifest = shape.manifest_of(resource.base)
        ways = known.find(manifest, claim_kind)
        if ways and ways.facts(manifest, "name", "namespace"):
            found |= ways.keys
    if found.issuperset(PARTS[claim_kind]):
        found.add("uri")
    return frozenset(found)


def names_source(resource: Resource, key: str, claim_kind: str) -> bool:
    """Whether something says in which Secret a key is."""
    if shape.is_wrapper(resource.base):
        details = paths.find(resource.base, shape.DETAILS) or []
        if any(detail.get("toConnectionSecretKey") == key for detail in details):
            return True
    elif isinstance(paths.find(resource.base, shape.SECRET_REF), dict):
        return True
    return known.find(shape.manifest_of(resource.base), claim_kind) is not None


def data_key(field_path: object) -> str | None:
    """The key of a Secret that a field path names."""
    try:
        path = paths.parse(field_path) if isinstance(field_path, str) else ()
    except paths.BadPath:
        return None
    if len(path) == 2 and path[0] == "data" and isinstance(path[1], str) and path[1] != paths.EVERY:
        return path[1]
    return None


# --- for a claim -------------------------------------------------------------------------------------------------


def source_of(made: Made, key: str) -> SecretKey | None:
    """Where the key of a resource's own connection secret is, or None while that cannot be said."""
    if shape.is_wrapper(made.skeleton):
        for detail in paths.find(made.skeleton, shape.DETAILS) or []:
            if detail.get("toConnectionSecretKey") == key:
                return secret_key(detail, data_key(detail.get("fieldPath")), made)
    else:
        reference = paths.find(made.skeleton, shape.SECRET_REF)
        if isinstance(reference, dict):
            return secret_key(reference, key, made)
    facts = made.facts
    return SecretKey(made.namespace, facts.secret, key) if facts else None


def secret_key(reference: Object, key: str | None, made: Made) -> SecretKey | None:
    """A key of a Secret that a reference names; without a namespace it is the object's own."""
    name, namespace = reference.get("name"), reference.get("namespace") or made.namespace
    if not isinstance(name, str) or not isinstance(namespace, str) or key is None:
        return None
    if not shape.NAME.fullmatch(name) or not shape.LABEL.fullmatch(namespace):
        return None
    return SecretKey(namespace, name, key)


def sources(made: Sequence[Made]) -> list[SecretKey]:
    """Every key of another Secret that the connection is made of."""
    found: list[SecretKey] = []
    for each in made:
        for detail in each.resource.connection_details:
            source = source_of(each, detail.from_connection_secret_key or "")
            if detail.kind == "FromConnectionSecretKey" and source is not None:
                found.append(source)
        for value in (each.facts.values if each.facts else {}).values():
            if isinstance(value, From):
                found.append(value.source)
    return found


def label_of(made: Sequence[Made], source: SecretKey) -> str:
    """The label that the Secret bears as all of its sort do, where that is known."""
    for each in made:
        if each.ways and each.facts and (each.namespace, each.facts.secret) == (source.namespace, source.name):
            return each.ways.secrets
    return ""


def connect(claim_kind: str, made: Sequence[Made], views: Mapping[int, Object]) -> Connection:
    """The values of the connection secret. `views` are the resources that are there, by their number."""
    ways = next((each.ways for each in made if each.ways), None)
    provider = ways.provider if ways else "composition"
    values: dict[str, Value] = {"type": Literal(TYPES[claim_kind]), "provider": Literal(provider)}
    waits: list[str] = []
    for each in made:
        if each.facts:
            values |= each.facts.values
    for at, each in enumerate(made):
        for detail in each.resource.connection_details:
            value = value_of(detail, each, views.get(at))
            if value is None:
                waits.append(f"{detail.key} of {each.label}")
            else:
                values[detail.key] = value
    text, quote = URIS[claim_kind]
    if "uri" not in values and all(part in values for part in PARTS[claim_kind]):
        values["uri"] = Template(text, {part: part for part in PARTS[claim_kind]}, quote=quote)
    missing = [key for key in REQUIRED[claim_kind] if key not in values]
    return Connection(values, tuple(waits or missing))


def value_of(detail: ConnectionDetail, made: Made, view: Object | None) -> Value | None:
    """Where the value of one detail comes from, or None while it is not there."""
    if detail.kind == "FromValue":
        return Literal(detail.value or "")
    if detail.kind == "FromConnectionSecretKey":
        source = source_of(made, detail.from_connection_secret_key or "")
        return None if source is None else From(source)
    found = None if view is None else paths.find(view, paths.parse(detail.from_field_path or ""))
    if found is None:
        return None
    return Literal(found if isinstance(found, str) else gotext.to_json(found))
