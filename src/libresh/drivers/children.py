"""What drivers make for a claim or a class: how it is named and labelled, what goes with it and what is kept."""

from dataclasses import dataclass

from libresh.api.claims import Claim
from libresh.api.meta import Resource
from libresh.plan import naming, objects
from libresh.plan.actions import Object, Ref


@dataclass(frozen=True)
class Children:
    """The children of one claim or class. `suffix` keeps owners of different kinds and one name apart."""

    owner: Resource
    suffix: str
    software: str
    version: str = ""
    space: str = ""
    """The namespace, where it is not the owner's own."""

    @property
    def claim(self) -> Claim:
        """The owner, where it is a claim."""
        assert isinstance(self.owner, Claim)
        return self.owner

    @property
    def namespace(self) -> str:
        return self.space or self.owner.namespace

    @property
    def name(self) -> str:
        """The name of the main child; the others append to it."""
        return f"{self.owner.name}-{self.suffix}"

    @property
    def host(self) -> str:
        """The name of the Service in the cluster's DNS, whatever the cluster's domain."""
        return f"{self.name}.{self.namespace}.svc"

    @property
    def selector(self) -> dict[str, str]:
        return naming.selector_for(name=self.software, instance=self.owner.name, component=self.suffix)

    @property
    def admitted(self) -> list[Object]:
        """Who may connect, for a NetworkPolicy: the claim's own namespace, and those its owner allows."""
        peers: list[Object] = [{"podSelector": {}}]
        grant = self.claim.spec.allowed_namespaces
        if grant is None:
            return peers
        if grant.all:
            return [*peers, {"namespaceSelector": {}}]
        chosen = [{naming.NAMESPACE_LABEL: name} for name in sorted(grant.names)]
        chosen += [grant.match_labels] if grant.match_labels else []
        return peers + [{"namespaceSelector": {"matchLabels": labels}} for labels in chosen]

    @property
    def labels(self) -> dict[str, str]:
        labels = naming.labels_for(
            name=self.software, instance=self.owner.name, component=self.suffix, version=self.version
        )
        return labels | {naming.OWNER_LABEL: naming.owner_value(self.owner.KIND.kind, self.owner.name)}

    def ref(self, kind: str, part: str = "") -> Ref:
        return Ref(kind, self.named(part), self.namespace)

    def named(self, part: str = "") -> str:
        return f"{self.name}-{part}" if part else self.name

    def owned(self, part: str = "") -> Object:
        """Metadata of a child that goes with its owner."""
        return objects.build_metadata(self.named(part), self.namespace, self.labels, owner=self.owner)

    def kept(self, part: str) -> Object:
        """Metadata of a child that holds data: it has no owner, and stays."""
        labels = self.labels | {naming.KEPT_FOR_LABEL: naming.owner_value(self.owner.KIND.kind, self.owner.name)}
        return objects.build_metadata(self.named(part), self.namespace, labels)
