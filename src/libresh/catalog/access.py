"""Who reaches an application, and whom it reaches: Ingresses and NetworkPolicies."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from libresh.api.apps import IngressSpec
from libresh.catalog.model import Binding, Component, Cron, Metrics, Route, Singleton, Task, Web
from libresh.plan import naming, objects
from libresh.plan.actions import Object

if TYPE_CHECKING:
    from libresh.catalog.build import Builder

ANYWHERE = ({"ipBlock": {"cidr": "0.0.0.0/0"}}, {"ipBlock": {"cidr": "::/0"}})
DNS = {"ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]}
"""Names are asked of whoever answers: which pods those are, and where they run, differs between clusters."""
EMBEDDED = "embedded"


def build_ingresses(builder: "Builder") -> list[Object]:
    """One Ingress per route, so that each host has a certificate of its own."""
    wish: IngressSpec = builder.instance.spec.ingress or IngressSpec()
    return [build_ingress(builder, route, wish) for route in builder.parts.routes]


def build_ingress(builder: "Builder", route: Route, wish: IngressSpec) -> Object:
    """The Ingress of one route."""
    metadata = builder.metadata(route.component)
    tls_secret, annotations = None, {}
    if route.largest_body:
        annotations["nginx.ingress.kubernetes.io/proxy-body-size"] = str(route.largest_body)
    if wish.tls:
        tls_secret = wish.tls.secret_name or builder.instance.named(f"{route.component}-tls")
        if wish.tls.cluster_issuer:
            annotations["cert-manager.io/cluster-issuer"] = wish.tls.cluster_issuer
    if annotations:
        metadata["annotations"] = annotations
    service = builder.instance.named(route.component)
    ingress = objects.build_ingress(
        metadata,
        {route.host: [(path, service, route.port) for path in route.paths]},
        class_name=wish.class_name,
        tls_secret=tls_secret,
    )
    exact = objects.build_ingress(
        metadata, {route.host: [(path, service, route.port) for path in route.exact]}, path_type="Exact"
    )
    ingress["spec"]["rules"][0]["http"]["paths"] += exact["spec"]["rules"][0]["http"]["paths"]
    return ingress


def build_policies(builder: "Builder") -> list[Object]:
    """One NetworkPolicy per component.

    In: its ports, from anywhere, as an edge may stand outside of the pods' network and only Ingresses lead to it; tasks
    and cron jobs take no connections. Out: names, the services it is bound to, and the ports of the world that the
    package names; of tasks what these say.
    """
    return [
        objects.build_network_policy(
            builder.metadata(component.name),
            selector=builder.selector(component.name),
            ingress=opened(component),
            egress=[DNS, *left_for(builder, component)],
        )
        for component in builder.parts.components
    ]


def left_for(builder: "Builder", component: Component) -> list[Object]:
    """Where a component may connect to, besides names."""
    bindings = builder.instance.bindings
    if isinstance(component, Task) and component.reaches is not None:
        return bound(builder, [bindings[role] for role in sorted(component.reaches)])
    return [*bound(builder, [bindings[role] for role in sorted(bindings)]), *world(builder)]


def opened(component: Component) -> list[Object]:
    """The ports of a component; without any it is closed. Metrics are for pods of the cluster only."""
    if isinstance(component, Task | Cron):
        return []
    metrics = metrics_of(component)
    rules: list[Object] = []
    for name, port in sorted(component.process.ports.items()):
        rule: Object = {"ports": [{"port": port, "protocol": "TCP"}]}
        if metrics and name == metrics.port:
            rule["from"] = [{"namespaceSelector": {}}]
        rules.append(rule)
    return rules


def metrics_of(component: Component) -> Metrics | None:
    """Where a component's metrics are, if it has any."""
    return component.metrics if isinstance(component, Web | Singleton) else None


def bound(builder: "Builder", bindings: Sequence[Binding]) -> list[Object]:
    """Services the application is bound to: the claims' own pods, beside it, or their classes' servers."""
    if any(binding.driver != EMBEDDED for binding in bindings):
        # Only the connection secret knows where such a service is, and the core does not read secrets.
        return [{"to": list(ANYWHERE)}]
    beside = [server_of(each, builder) for each in bindings if not each.shared]
    system = {"matchLabels": {naming.NAMESPACE_LABEL: builder.instance.settings.system_namespace}}
    classes = sorted({naming.owner_value("ServiceClass", each.shared) for each in bindings if each.shared})
    servers: list[Object] = [
        {"namespaceSelector": system, "podSelector": {"matchLabels": {naming.OWNER_LABEL: owner}}} for owner in classes
    ]
    return [{"to": [*beside, *servers]}] if bindings else []


def server_of(binding: Binding, builder: "Builder") -> Object:
    """The pods of one claim, here or in the namespace it is shared from."""
    owner = naming.owner_value(binding.claim_kind, binding.claim)
    peer: Object = {"podSelector": {"matchLabels": {naming.OWNER_LABEL: owner}}}
    if binding.home in ("", builder.app.namespace):
        return peer
    return {"namespaceSelector": {"matchLabels": {naming.NAMESPACE_LABEL: binding.home}}, **peer}


def world(builder: "Builder") -> list[Object]:
    """The ports of the world that the package names."""
    ports = [{"port": port, "protocol": "TCP"} for port in builder.parts.world.ports]
    return [{"ports": ports, "to": list(ANYWHERE)}] if ports else []
