"""A contract stub of Crossplane 2.0 and of the claims of 1.20. Nothing is composed, unless it is given an image of
PostgreSQL: then what a composition might make stands behind each object, one real server.

A composite resource or a claim gets the conditions Synced (ReconcileSuccess) and Ready (Creating, then Available), and
a connection Secret: of a claim the one its spec.writeConnectionSecretToRef names (docs.crossplane.io v1.20,
concepts/connection-details), of a composite the one its composition makes, here `<name>-connection-details` or what
spec.secretName says (docs.crossplane.io v2.0, composition/composite-resources, guides/connection-details-composition).
The definitions are those that a cluster's operator would make by CompositeResourceDefinitions.
"""

from typing import ClassVar

from support.definitions import INTEGER, OPEN, STRING, definition, fields, map_of

from .model import Contract, Object, Verdict
from .standing import Server

GROUP = "platform.example.org"
SELECTION = {
    "compositionRef": fields(name=STRING),
    "compositionSelector": fields(matchLabels=map_of(STRING)),
    "compositionUpdatePolicy": STRING,
}
PARAMETERS = fields(storageGB=INTEGER, version=STRING, open=OPEN)
COMPOSITE = fields(crossplane=fields(**SELECTION), parameters=PARAMETERS, secretName=STRING)
CLAIM = fields(
    **SELECTION,
    compositeDeletePolicy=STRING,
    writeConnectionSecretToRef=fields(name=STRING),
    parameters=PARAMETERS,
)


class Crossplane(Contract):
    """The stub: the kind Instance is a composite of version 2, InstanceClaim a claim of version 1."""

    driver = "crossplane"
    kinds = ((f"{GROUP}/v1", "Instance"), (f"{GROUP}/v1", "InstanceClaim"))
    crds = (
        definition(GROUP, "v1", "Instance", COMPOSITE),
        definition(GROUP, "v1", "InstanceClaim", CLAIM),
    )
    mark: ClassVar[str] = "crossplane.io/composite"
    manager = "crossplane"

    def verdict(self, obj: Object) -> Verdict:
        ready = bool(obj.get("status", {}).get("conditions"))
        return Verdict(status_of(ready=ready), (self.connection(obj),) if ready else ())

    def fallen(self, obj: Object) -> Verdict | None:
        """An object is as ready as what was composed for it (docs v2.0, composition/compositions, "Readiness")."""
        return Verdict(status_of(ready=False), (self.connection(obj),)) if obj.get("status") else None

    def server(self, obj: Object) -> Server:
        name, space = obj["metadata"]["name"], obj["metadata"]["namespace"]
        credentials = {"username": "app", "password": f"password-of-{space}-{name}", "database": "app"}
        gigabytes = obj.get("spec", {}).get("parameters", {}).get("storageGB", 1)
        return Server(obj, name, credentials, size=f"{gigabytes}Gi")

    def connection(self, obj: Object) -> Object:
        """The connection Secret; the host is that of the real server, if there is one."""
        name, space, spec = obj["metadata"]["name"], obj["metadata"]["namespace"], obj.get("spec", {})
        claimed = spec.get("writeConnectionSecretToRef", {}).get("name")
        given = self.server(obj).credentials
        host = f"{name}.{space}.svc" if self.image else f"{name}.example.org"
        values = {"endpoint": host, "port": "5432", **given}
        return self.secret(obj, claimed or spec.get("secretName") or f"{name}-connection-details", values)


def status_of(*, ready: bool) -> Object:
    said = condition("Ready", "True", "Available") if ready else condition("Ready", "False", "Creating")
    return {"conditions": [said, condition("Synced", "True", "ReconcileSuccess")]}


def condition(type: str, status: str, reason: str, message: str = "") -> Object:
    found = {"type": type, "status": status, "reason": reason, "lastTransitionTime": "2025-01-01T00:00:00Z"}
    return {**found, "message": message} if message else found
