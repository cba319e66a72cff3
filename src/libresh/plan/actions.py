"""The closed alphabet of effects: a decision is a list of these, and one loop performs them.

    Apply(object)    server-side apply with our field manager
    Delete(ref)      delete one object, if it is still the one that was seen
    Mint(secret…)    write a Secret whose values the core never sees
    Release()        let go of our finaliser: the object may disappear

A fifth letter needs a decision record.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Object = dict[str, Any]
"""A Kubernetes object as the API server would take it in JSON."""


@dataclass(frozen=True, slots=True, order=True)
class Ref:
    """Names one object. `namespace` is empty for what is cluster-scoped."""

    kind: str
    name: str
    namespace: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True, order=True)
class Theirs(Ref):
    """Names an object that is not libre.sh's to make: while it is absent, its coming must be noticed."""

    among: str = field(default="", compare=False)
    """The label (`key=value`) that all objects of this sort bear, where that is known."""


@dataclass(frozen=True, slots=True, order=True)
class Byproduct(Ref):
    """Names an object that software we run makes by itself, and labels so: it is deleted only if it bears `labels`."""

    labels: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Apply:
    """Server-side apply `object` (its fields become ours). Absent fields we once owned are removed."""

    object: Object


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete `ref`. With `uid`, only that very object."""

    ref: Ref
    uid: str = ""


@dataclass(frozen=True, slots=True)
class SecretKey:
    """One key of one Secret."""

    namespace: str
    name: str
    key: str


@dataclass(frozen=True, slots=True)
class Literal:
    """A value that is no secret."""

    value: str


@dataclass(frozen=True, slots=True)
class Random:
    """A value made once and kept: `bytes` random bytes in `form` (`hex`, `base64`, `alphanumeric`,
    `synapse-signing-key`, or `rsa-key`, a private key of 2048 bits in PEM).

    Where it is absent it is first looked for in `recover`, in order, so that a value that somebody deleted in one place
    and that survives in another comes back as it was."""

    bytes: int = 24
    form: str = "alphanumeric"
    recover: tuple[SecretKey, ...] = ()


@dataclass(frozen=True, slots=True)
class From:
    """A value copied from another Secret. While it cannot be had the whole Mint waits."""

    source: SecretKey


@dataclass(frozen=True, slots=True)
class Hashed:
    """The SHA-512 crypt hash of a value of the same Secret (a str) or another. It is kept while it still fits."""

    key: "str | SecretKey"


@dataclass(frozen=True, slots=True)
class PublicPart:
    """Text with `${key}` replaced by the public part (DER in base64) of the private key in PEM at `key` of the same
    Secret: what others need in order to check signatures."""

    key: str
    text: str = "${key}"


@dataclass(frozen=True, slots=True)
class Template:
    """Text with `${name}` replaced by `values[name]`: a key of the same Secret (a str) or another Secret's.

    `$${` stands for a literal `${`. `quote` says how values are made safe for the place they stand in:
    `""` as they are, `url` percent-encoded, `yaml` as a double-quoted YAML (and JSON) scalar, `pgpass` with
    `:` and `\\` escaped.
    """

    text: str
    values: Mapping[str, "str | SecretKey"] = field(default_factory=dict)
    quote: str = ""


Value = Literal | Random | From | Hashed | PublicPart | Template


@dataclass(frozen=True, slots=True)
class Mint:
    """Write a Secret. The core names where values come from; only the performer ever holds them.

    `metadata` and `type` are applied as given, keys outside `values` are removed. Random values that exist are never
    changed.
    """

    metadata: Object
    values: Mapping[str, Value]
    type: str = "Opaque"

    @property
    def ref(self) -> Ref:
        return Ref("Secret", self.metadata["name"], self.metadata["namespace"])


@dataclass(frozen=True, slots=True)
class Release:
    """Remove our finaliser from the object under reconciliation."""


Action = Apply | Delete | Mint | Release
