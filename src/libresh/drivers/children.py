"""What drivers make for a claim: how it is named and labelled, what goes with the claim and what is kept."""

from dataclasses import dataclass

from libresh.api.claims import Claim
from libresh.plan import naming, objects
from libresh.plan.actions import Object, Ref


@dataclass(frozen=True)
class Children:
    """The children of one claim. `suffix` keeps claims of different kinds and one name apart."""

    claim: Claim
    suffix: str
    software: str
    version: str = ""

    @property
    def name(self) -> str:
        """The name of the main child; the others append to it."""
        return f"{self.claim.name}-{self.suffix}"

    @property
    def host(self) -> str:
        """The name of the Service in the cluster's DNS, whatever the cluster's domain."""
        return f"{self.name}.{self.claim.namespace}.svc"

    @property
    def selector(self) -> dict[str, str]:
        return naming.selector_for(name=self.software, instance=self.claim.name, component=self.suffix)

    @property
    def labels(self) -> dict[str, str]:
        labels = naming.labels_for(
            name=self.software, instance=self.claim.name, component=self.suffix, version=self.version
        )
        return labels | {naming.OWNER_LABEL: naming.owner_value(self.claim.KIND.kind, self.claim.name)}

    def ref(self, kind: str, part: str = "") -> Ref:
        return Ref(kind, self.named(part), self.claim.namespace)

    def named(self, part: str = "") -> str:
        return f"{self.name}-{part}" if part else self.name

    def owned(self, part: str = "") -> Object:
        """Metadata of a child that goes with the claim."""
        return objects.build_metadata(self.named(part), self.claim.namespace, self.labels, owner=self.claim)

    def kept(self, part: str) -> Object:
        """Metadata of a child that holds data: it has no owner, and stays."""
        labels = self.labels | {naming.KEPT_FOR_LABEL: naming.owner_value(self.claim.KIND.kind, self.claim.name)}
        return objects.build_metadata(self.named(part), self.claim.namespace, labels)
