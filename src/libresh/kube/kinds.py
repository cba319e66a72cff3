"""Which path of the API serves a kind: the built-in kinds we use, our own, and foreign ones added while running."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from libresh.api.meta import Resource
from libresh.errors import LibreshError
from libresh.plan import naming

PLAIN = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._:~-]+")
"""What may stand in a path as it is. Anything else could lead somewhere else."""


@dataclass(frozen=True, slots=True)
class KindInfo:
    """Where the API serves one kind."""

    kind: str
    api_version: str
    plural: str
    namespaced: bool = True

    @property
    def group(self) -> str:
        return self.api_version.rpartition("/")[0]

    @property
    def root(self) -> str:
        """The path below which the whole kind lies."""
        prefix = "/apis/" if "/" in self.api_version else "/api/"
        return prefix + self.api_version

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """The path of a collection (no name), an object, or one of its subresources."""
        for part in (namespace, name):
            if part and not PLAIN.fullmatch(part):
                raise LibreshError("bad-name", f"{part!r} cannot be the name of a {self.kind} or of its namespace")
        parts = [self.root]
        if self.namespaced and namespace:
            parts += ["namespaces", namespace]
        parts += [part for part in (self.plural, name, subresource) if part]
        return "/".join(parts)


def builtin(api_version: str, *names: str, namespaced: bool = True) -> Iterator[KindInfo]:
    """Kinds of one group. `Name` takes the plural `names`; `Name=plural` says it outright."""
    for name in names:
        kind, _, plural = name.partition("=")
        yield KindInfo(kind, api_version, plural or kind.lower() + "s", namespaced)


BUILTIN: tuple[KindInfo, ...] = (
    *builtin("v1", "Namespace", "Node", "PersistentVolume", namespaced=False),
    *builtin("v1", "Secret", "ConfigMap", "Service", "ServiceAccount", "PersistentVolumeClaim", "Pod"),
    *builtin("v1", "Endpoints=endpoints", "LimitRange", "ResourceQuota", "ReplicationController"),
    *builtin("apps/v1", "Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ControllerRevision"),
    *builtin("batch/v1", "Job", "CronJob"),
    *builtin("networking.k8s.io/v1", "Ingress=ingresses", "NetworkPolicy=networkpolicies"),
    *builtin("networking.k8s.io/v1", "IngressClass=ingressclasses", namespaced=False),
    *builtin("policy/v1", "PodDisruptionBudget"),
    *builtin("autoscaling/v2", "HorizontalPodAutoscaler"),
    *builtin("rbac.authorization.k8s.io/v1", "Role", "RoleBinding"),
    *builtin("rbac.authorization.k8s.io/v1", "ClusterRole", "ClusterRoleBinding", namespaced=False),
    *builtin("coordination.k8s.io/v1", "Lease"),
    *builtin("discovery.k8s.io/v1", "EndpointSlice"),
    *builtin("events.k8s.io/v1", "Event"),
    *builtin("scheduling.k8s.io/v1", "PriorityClass=priorityclasses", namespaced=False),
    *builtin("storage.k8s.io/v1", "StorageClass=storageclasses", namespaced=False),
    *builtin("snapshot.storage.k8s.io/v1", "VolumeSnapshot"),
    *builtin("apiextensions.k8s.io/v1", "CustomResourceDefinition", namespaced=False),
    *builtin("apiregistration.k8s.io/v1", "APIService", namespaced=False),
)


class Kinds:
    """The kind table: by kind name, or by `Kind.group` where two groups have a kind of the same name."""

    def __init__(self, resources: Iterable[type[Resource]] = ()) -> None:
        self._infos = {info.kind: info for info in BUILTIN}
        self._types: dict[str, type[Resource]] = {}
        for resource in resources:
            self.own(resource)

    def own(self, resource: type[Resource]) -> None:
        """Makes one of our own kinds known."""
        kind = resource.KIND
        if self._types.setdefault(kind.kind, resource) is not resource:
            raise LibreshError("kind-twice", f"Two types call themselves {kind.kind}")
        self._infos[kind.kind] = KindInfo(kind.kind, kind.api_version, kind.plural, kind.namespaced)

    def add(self, info: KindInfo) -> str:
        """Makes a foreign kind known and returns the name to use in a Ref."""
        known = self._infos.get(info.kind)
        name = info.kind if known is None or known.group == info.group else f"{info.kind}.{info.group}"
        self._infos[name] = info
        return name

    def put(self, name: str, info: KindInfo) -> None:
        """Makes a kind known that only classes know, by the name Refs have for it (`naming.composed_kind`)."""
        self._infos[name] = info

    def type_of(self, kind: str) -> type[Resource] | None:
        """The Python type, for kinds of our own."""
        return self._types.get(kind)

    def types(self) -> tuple[type[Resource], ...]:
        return tuple(self._types.values())

    def name_of(self, api_version: str, kind: str) -> str:
        """The name in this table of an object's apiVersion and kind."""
        group = api_version.rpartition("/")[0]
        for name in (kind, f"{kind}.{group}", naming.composed_kind(api_version, kind)):
            info = self._infos.get(name)
            if info is not None and info.group == group:
                return name
        raise unknown(f"{api_version} {kind}")

    def __getitem__(self, kind: str) -> KindInfo:
        info = self._infos.get(kind)
        if info is None:
            raise unknown(kind)
        return info

    def __contains__(self, kind: object) -> bool:
        return kind in self._infos


def unknown(kind: str) -> LibreshError:
    """The complaint about a kind that is not in the table."""
    return LibreshError("kind-unknown", f"The kind {kind} is not known", "add it to libresh.kube.kinds")
