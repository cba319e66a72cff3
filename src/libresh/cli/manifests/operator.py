"""The operator's own objects: namespace, identity, rights, workload. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from libresh import __version__
from libresh import operator as program
from libresh.catalog.settings import Settings
from libresh.cli.manifests import rbac
from libresh.kube.kinds import Kinds
from libresh.plan import naming, objects
from libresh.plan.actions import Object
from libresh.ports import Reconciler

NAME = "libresh-operator"
COMPOSED = f"{NAME}-composed"
"""The ClusterRole of rights that classes need."""
LEASE = NAME
"""What replicas agree on the leader by (libresh.runtime.leader)."""
DIGEST_ANNOTATION = "libre.sh/image-digest"


@dataclass(frozen=True)
class Installation:
    """What an installation may differ in."""

    settings: Settings = field(default_factory=Settings)
    replicas: int = 1
    image: str = ""
    """The operator's image, where it is not the one of this version below the prefix."""
    image_digest: str = ""
    """Known where images are built on the spot: a rebuilt image of the same name then restarts the operator."""

    @property
    def namespace(self) -> str:
        return self.settings.system_namespace

    @property
    def operator_image(self) -> str:
        return self.image or self.settings.image("libresh", __version__)


def labels() -> dict[str, str]:
    """The labels of everything an installation makes."""
    made = naming.labels_for(name=NAME, instance="libresh", component="operator", version=__version__)
    # The operator caches what it manages itself; what the installation makes is not that.
    return made | {naming.MANAGED_LABEL: "libresh-cli"}


def selector() -> dict[str, str]:
    return naming.selector_for(name=NAME, instance="libresh", component="operator")


def build_namespace(installation: Installation) -> Object:
    """The operator's namespace, where no pod may be more than Pod Security `restricted` allows."""
    levels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "audit", "warn")}
    versions = {f"{mode}-version": "latest" for mode in levels}
    metadata = {"name": installation.namespace, "labels": {**labels(), **levels, **versions}}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}


def build_identity(installation: Installation, reconcilers: Iterable[Reconciler[Any]], kinds: Kinds) -> list[Object]:
    """The ServiceAccount and all it may do."""
    rights = rbac.rights_for(reconcilers, kinds)
    extra = {rbac.Right("events.k8s.io", "events", verb) for verb in ("create", "patch")}
    if installation.settings.ca_config_map:
        extra.add(rbac.Right("", "configmaps", "get"))
    metadata = {"name": NAME, "namespace": installation.namespace, "labels": labels()}
    subject = {"kind": "ServiceAccount", "name": NAME, "namespace": installation.namespace}
    lease = {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"]}
    leases = [{**lease, "verbs": ["create"]}, {**lease, "resourceNames": [LEASE], "verbs": ["get", "update"]}]
    return [
        objects.build_service_account(metadata),
        rbac.build_cluster_role(NAME, rights | extra, labels()),
        rbac.build_composed_role(COMPOSED, labels()),
        build_cluster_binding(NAME, subject),
        build_cluster_binding(COMPOSED, subject),
        objects.build_role(metadata, leases),
        objects.build_role_binding(metadata, role=NAME, service_account=NAME),
    ]


def build_cluster_binding(role: str, subject: Object) -> Object:
    """Gives a ClusterRole to the operator."""
    group = "rbac.authorization.k8s.io"
    return {
        "apiVersion": f"{group}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": role, "labels": labels()},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": role},
        "subjects": [subject],
    }


def build_workload(installation: Installation) -> list[Object]:
    """The Deployment and what belongs to it."""
    metadata = {"name": NAME, "namespace": installation.namespace, "labels": labels()}
    built = [build_deployment(installation, metadata), build_metrics_service(metadata), build_network_policy(metadata)]
    if installation.replicas > 1:
        built.append(build_budget(metadata))
    return built


def build_deployment(installation: Installation, metadata: Object) -> Object:
    """The operator. A new one starts once an old one is gone: two never idle side by side in a small cluster."""
    pod = objects.Pod((build_container(installation),), service_account=NAME, grace=30)
    content = naming.digest_of(installation.image_digest)
    deployment = objects.build_deployment(
        metadata, pod, selector=selector(), content=content, replicas=installation.replicas, recreate=False
    )
    deployment["spec"]["strategy"]["rollingUpdate"] = {"maxSurge": 0, "maxUnavailable": 1}
    template = deployment["spec"]["template"]
    if installation.image_digest:
        template["metadata"]["annotations"][DIGEST_ANNOTATION] = installation.image_digest
    if installation.replicas > 1:
        template["spec"]["topologySpreadConstraints"] = [
            {
                "labelSelector": {"matchLabels": selector()},
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "ScheduleAnyway",
            }
        ]
    return deployment


def build_container(installation: Installation) -> objects.Container:
    settings = installation.settings
    env: dict[str, Any] = {
        "LIBRESH_IMAGE_PREFIX": settings.image_prefix,
        "LIBRESH_DOMAIN": settings.domain,
        "LIBRESH_CA_CONFIG_MAP": settings.ca_config_map,
        "POD_NAMESPACE": {"fieldRef": {"fieldPath": "metadata.namespace"}},
        "POD_NAME": {"fieldRef": {"fieldPath": "metadata.name"}},
    }
    return objects.Container(
        name="operator",
        image=installation.operator_image,
        env={name: value for name, value in env.items() if value},
        ports={"http": program.PORT},
        mounts=(objects.empty_dir("tmp", "/tmp", size="16Mi"),),
        resources=objects.Resources(cpu="50m", memory="64Mi", memory_limit="256Mi"),
        startup=objects.Probe("http", "/healthz", period=1, failures=120),
        readiness=objects.Probe("http", "/readyz"),
        liveness=objects.Probe("http", "/healthz", period=10),
    )


def build_metrics_service(metadata: Object) -> Object:
    """Where Prometheus finds every replica."""
    annotations = {
        "prometheus.io/path": "/metrics",
        "prometheus.io/port": str(program.PORT),
        "prometheus.io/scrape": "true",
    }
    named = {**metadata, "annotations": annotations}
    return objects.build_service(named, {"http": program.PORT}, selector=selector(), headless=True)


def build_network_policy(metadata: Object) -> Object:
    """Only this port answers; nobody needs anything else of the operator."""
    ports = [{"port": program.PORT, "protocol": "TCP"}]
    return objects.build_network_policy(metadata, selector=selector(), ingress=[{"ports": ports}])


def build_budget(metadata: Object) -> Object:
    """With more than one replica, draining nodes leaves one."""
    spec = {"maxUnavailable": 1, "selector": {"matchLabels": selector()}}
    return {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": metadata, "spec": spec}
