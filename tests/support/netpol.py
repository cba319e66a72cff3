"""What NetworkPolicies allow, worked out from the objects alone: the semantics of networking.k8s.io/v1 as a function.

The local cluster does not enforce NetworkPolicies, so nothing here sends a packet. What v1 leaves to network plugins,
such as traffic from the node that a pod runs on, is left out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Any

Object = dict[str, Any]

INGRESS, EGRESS = "Ingress", "Egress"


@dataclass(frozen=True)
class Peer:
    """One end of a connection: a pod, or an address outside the cluster."""

    namespace: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    address: str = ""
    ports: Mapping[str, int] = field(default_factory=dict)
    """The pod's ports that have names."""

    @property
    def is_pod(self) -> bool:
        return bool(self.namespace)


@dataclass(frozen=True)
class Network:
    """All that decides: the policies, and the labels of namespaces."""

    policies: Sequence[Object]
    namespaces: Mapping[str, Mapping[str, str]]

    def allows(self, source: Peer, target: Peer, port: int, protocol: str = "TCP") -> bool:
        """Whether a connection is allowed: the source may leave to the target, and the target lets it in."""
        out = self.passes(source, target, EGRESS, target, port, protocol)
        return out and self.passes(target, source, INGRESS, target, port, protocol)

    def passes(self, subject: Peer, other: Peer, direction: str, target: Peer, port: int, protocol: str) -> bool:
        """Whether the subject's own policies allow one direction. Without any that concern it, all is allowed."""
        if not subject.is_pod:
            return True
        concerned = [each for each in self.policies if concerns(each, subject, direction)]
        key, side = ("ingress", "from") if direction == INGRESS else ("egress", "to")
        rules = [(policy, rule) for policy in concerned for rule in policy["spec"].get(key) or ()]
        return not concerned or any(
            self.names(rule.get(side), policy, other) and opens(rule.get("ports"), target, port, protocol)
            for policy, rule in rules
        )

    def names(self, peers: Sequence[Object] | None, policy: Object, other: Peer) -> bool:
        """Whether a rule's `from` or `to` means that peer; one that is absent or empty means everybody."""
        return not peers or any(self.is_meant(each, policy["metadata"]["namespace"], other) for each in peers)

    def is_meant(self, peer: Object, namespace: str, other: Peer) -> bool:
        if (block := peer.get("ipBlock")) is not None:
            return is_inside(block, other.address)
        if not other.is_pod:
            return False
        spaces, pods = peer.get("namespaceSelector"), peer.get("podSelector")
        if spaces is None:
            in_space = other.namespace == namespace
        else:
            in_space = selects(spaces, self.namespaces.get(other.namespace, {}))
        return in_space and (pods is None or selects(pods, other.labels))


def concerns(policy: Object, pod: Peer, direction: str) -> bool:
    """Whether a policy restricts that pod in that direction."""
    spec = policy["spec"]
    if policy["metadata"]["namespace"] != pod.namespace or not selects(spec.get("podSelector") or {}, pod.labels):
        return False
    # Where the types are not given, ingress always is one, and egress where there are rules for it.
    types = spec.get("policyTypes") or [INGRESS, *([EGRESS] if spec.get("egress") else [])]
    return direction in types


def selects(selector: Object, labels: Mapping[str, str]) -> bool:
    """A label selector. An empty one selects everything."""
    wanted = selector.get("matchLabels") or {}
    if any(labels.get(key) != value for key, value in wanted.items()):
        return False
    return all(meets(each, labels) for each in selector.get("matchExpressions") or ())


def meets(requirement: Object, labels: Mapping[str, str]) -> bool:
    key, operator, values = requirement["key"], requirement["operator"], requirement.get("values") or ()
    if operator == "Exists":
        return key in labels
    if operator == "DoesNotExist":
        return key not in labels
    if operator == "In":
        return labels.get(key) in values
    if operator == "NotIn":
        return labels.get(key) not in values
    raise ValueError(f"no such operator in a selector: {operator}")


def is_inside(block: Object, address: str) -> bool:
    """Whether an address is in a block and in none of its exceptions."""
    if not address:
        return False
    found = ip_address(address)
    return found in ip_network(block["cidr"]) and not any(
        found in ip_network(each) for each in block.get("except") or ()
    )


def opens(ports: Sequence[Object] | None, target: Peer, port: int, protocol: str) -> bool:
    """Whether a rule's ports hold this one; where none are given all are open."""
    return not ports or any(is_port(each, target, port, protocol) for each in ports)


def is_port(wanted: Object, target: Peer, port: int, protocol: str) -> bool:
    if wanted.get("protocol", "TCP") != protocol:
        return False
    first = wanted.get("port")
    if first is None:
        return True
    if isinstance(first, str):
        return target.ports.get(first) == port
    return bool(first <= port <= wanted.get("endPort", first))


def peer_of(pod: Object) -> Peer:
    """A pod as a peer."""
    named = {
        each["name"]: each["containerPort"]
        for container in pod["spec"]["containers"]
        for each in container.get("ports") or ()
        if "name" in each
    }
    metadata = pod["metadata"]
    address = pod.get("status", {}).get("podIP", "")
    return Peer(metadata["namespace"], metadata.get("labels") or {}, address, named)
