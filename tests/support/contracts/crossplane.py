"""A contract stub of Crossplane 2.0 and of the claims of 1.20. Nothing is composed.

A composite resource or a claim gets the conditions Synced (ReconcileSuccess) and Ready (Creating, then Available), and
a connection Secret: of a claim the one its spec.writeConnectionSecretToRef names (docs.crossplane.io v1.20,
concepts/connection-details), of a composite the one its composition makes, here `<name>-connection-details` or what
spec.secretName says (docs.crossplane.io v2.0, composition/composite-resources, guides/connection-details-composition).
The definitions are those that a cluster's operator would make by CompositeResourceDefinitions.
"""

from typing import ClassVar

from .model import INTEGER, OPEN, STRING, Contract, Object, Verdict, definition, fields, map_of

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

    kinds = ((f"{GROUP}/v1", "Instance"), (f"{GROUP}/v1", "InstanceClaim"))
    crds = (
        definition(GROUP, "v1", "Instance", "instances", COMPOSITE),
        definition(GROUP, "v1", "InstanceClaim", "instanceclaims", CLAIM),
    )
    mark: ClassVar[str] = "crossplane.io/composite"
    manager = "crossplane"

    def verdict(self, obj: Object) -> Verdict:
        name = obj["metadata"]["name"]
        ready = bool(obj.get("status", {}).get("conditions"))
        conditions = [
            condition("Ready", "True", "Available") if ready else condition("Ready", "False", "Creating"),
            condition("Synced", "True", "ReconcileSuccess"),
        ]
        spec = obj.get("spec", {})
        claimed = spec.get("writeConnectionSecretToRef", {}).get("name")
        secret = claimed or spec.get("secretName") or f"{name}-connection-details"
        values = {
            "endpoint": f"{name}.example.org",
            "port": "5432",
            "database": "app",
            "username": "app",
            "password": f"password-of-{name}",
        }
        return Verdict({"conditions": conditions}, (self.secret(obj, secret, values),) if ready else ())


def condition(type: str, status: str, reason: str, message: str = "") -> Object:
    found = {"type": type, "status": status, "reason": reason, "lastTransitionTime": "2025-01-01T00:00:00Z"}
    return {**found, "message": message} if message else found
