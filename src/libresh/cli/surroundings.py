"""What is read around a claim, to tell who serves it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from libresh.api.claims import Claim
from libresh.api.meta import Resource
from libresh.api.services import ServiceClass
from libresh.ports import SecretView

NOT_LISTED = "you may not list ServiceClasses; ask for the role libresh-cluster-view"


@dataclass(frozen=True)
class Owner:
    """The application a claim was made for, and the field of its spec that asks for the claim."""

    app: Resource
    role: str = ""
    """Empty where it cannot be told."""
    data: bool = True
    """Whether the application keeps there what must survive."""

    @property
    def handle(self) -> str:
        return f"{self.app.KIND.kind.lower()}/{self.app.name}"

    @property
    def field(self) -> str:
        return f"spec.{self.role}" if self.role else "its spec"


@dataclass(frozen=True)
class Seen:
    """What was read of the cluster."""

    claim: Claim
    now: datetime
    classes: Sequence[ServiceClass] | None = ()
    """None where this person may not list them."""
    secret: SecretView | None = None
    """What bears the connection secret's name."""
    secret_hidden: bool = False
    owner: Owner | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    """Those of the claim's namespace, as far as this person may read it: grants of classes go by them."""

    @property
    def provisioned(self) -> bool:
        """Whether a class already serves the claim: then its status is what counts."""
        return bool(self.claim.status.driver and self.claim.status.class_name)


def handle_of(claim: Claim) -> str:
    return f"{claim.KIND.kind.lower()}/{claim.name}"


def class_of(seen: Seen, name: str | None) -> ServiceClass | None:
    return next((cls for cls in seen.classes or () if cls.name == name), None)


def of_kind(seen: Seen) -> list[ServiceClass]:
    """The classes that serve this kind of claim, sorted."""
    kind = seen.claim.KIND.kind
    return sorted((c for c in seen.classes or () if c.spec.claim_kind == kind), key=lambda c: c.name)
