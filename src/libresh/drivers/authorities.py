"""Authorities that the certificate of somebody else's server is checked against: where a class says that they are."""

from typing import Annotated, Literal

import msgspec

from libresh.drivers.model import Seen
from libresh.plan import naming
from libresh.plan.actions import From, SecretKey, Theirs, Value
from libresh.plan.actions import Literal as Plain
from libresh.plan.decision import Outcome, Waiting

AUTHORITY_MISSING = "AuthorityMissing"

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=253, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")]
Key = Annotated[str, msgspec.Meta(min_length=1, max_length=253, pattern=r"^[-._a-zA-Z0-9]+$")]


class Authority(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """Where the authorities are that the server's certificate is checked against, as PEM."""

    name: Name
    kind: Literal["ConfigMap", "Secret"] = "ConfigMap"
    namespace: Name = naming.SYSTEM_NAMESPACE
    key: Key = "ca.crt"

    @property
    def ref(self) -> Theirs:
        return Theirs(self.kind, self.name, self.namespace)


def refs_of(authority: Authority | None) -> tuple[Theirs, ...]:
    """What must be looked at."""
    return (authority.ref,) if authority else ()


def value_of(authority: Authority | None, seen: Seen) -> Value | None:
    """The authorities, from wherever they are."""
    if authority is None:
        return None
    if authority.kind == "Secret":
        return From(SecretKey(authority.namespace, authority.name, authority.key))
    return Plain(str(((seen.get(authority.ref) or {}).get("data") or {}).get(authority.key, "")))


def missing(authority: Authority | None, class_name: str, seen: Seen, *, ready: bool) -> Outcome | None:
    """What the cluster's operator has not provided of them."""
    if authority is None:
        return None
    view = seen.secret(authority.ref)
    if authority.key in (view.keys if view else (seen.get(authority.ref) or {}).get("data") or ()):
        return None
    return Waiting(
        AUTHORITY_MISSING,
        f"ServiceClass {class_name}: spec.parameters.caRef: there is no {authority.ref} with the key {authority.key}; "
        f"make it",
        ready=ready,
    )
