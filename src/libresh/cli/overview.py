"""What `libresh status` concludes from the objects of a cluster: how each stands, what is wrong, what to do. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from libresh.api.appclaims import AppClaim
from libresh.api.apps import App
from libresh.api.claims import Claim
from libresh.api.meta import Resource
from libresh.api.services import DEFAULT_CLASS
from libresh.cli.footprint import Footprint, measure
from libresh.plan import naming, observed
from libresh.plan.actions import Object

OPERATOR = "libresh-operator"
SLOW = timedelta(minutes=5)
"""After this long without getting ready, progress counts as trouble."""

READY, WAITING, STALLED, UNSEEN, DELETING, SUSPENDED = "ready", "waiting", "stalled", "unseen", "deleting", "suspended"


@dataclass(frozen=True)
class Standing:
    """How one object stands."""

    kind: str
    namespace: str
    name: str
    state: str
    reason: str = ""
    message: str = ""
    since: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def handle(self) -> str:
        """How the commands name it: matrix/chat."""
        return f"{self.kind.lower()}/{self.name}"


@dataclass(frozen=True)
class Problem:
    """What is wrong, and what to do about it."""

    what: str
    why: str
    do: str


@dataclass(frozen=True)
class Seen:
    """What was read of a cluster. A kind that is not served is absent from `objects`."""

    server: str
    version: str
    now: datetime
    nodes: Sequence[Object] = ()
    operator: Object | None = None
    pods: Sequence[Object] = ()
    """Everything libre.sh runs, the operator included."""
    objects: Mapping[str, Sequence[Object]] = field(default_factory=dict)
    unreadable: Sequence[str] = ()
    """Kinds the person may not list."""


@dataclass(frozen=True)
class Overview:
    """One screen."""

    server: str
    version: str
    nodes: str
    operator: str
    footprint: Footprint
    apps: tuple[Standing, ...]
    claims: tuple[Standing, ...]
    classes: tuple[Standing, ...]
    problems: tuple[Problem, ...]
    under_way: tuple[Standing, ...]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def build_overview(seen: Seen, types: Sequence[type[Resource]]) -> Overview:
    """The whole screen from what was read."""
    standings: dict[str, tuple[Standing, ...]] = {}
    for type in types:
        found = seen.objects.get(type.KIND.kind, ())
        standings[type.KIND.kind] = tuple(stand(type, obj) for obj in found)
    apps = gather(standings, types, App)
    claims = gather(standings, types, Claim, AppClaim)
    classes = standings.get("ServiceClass", ())
    operator, operator_problem = judge_operator(seen)
    trouble = [*operator_problem, *judge_nodes(seen), *judge_definitions(seen, types)]
    judged = [
        judge(standing, seen.now)
        for standing in (*apps, *claims, *classes)
        if not (operator_problem and standing.state == UNSEEN)  # the operator's own problem says it all
    ]
    problems = (*trouble, *(found for found in judged if found))
    under_way = tuple(s for s in (*apps, *claims) if s.state == WAITING and judge(s, seen.now) is None)
    return Overview(
        server=seen.server,
        version=seen.version,
        nodes=count_nodes(seen.nodes),
        operator=operator,
        footprint=measure(seen.pods, seen.nodes),
        apps=apps,
        claims=claims,
        classes=classes,
        problems=problems,
        under_way=under_way,
    )


def gather(
    standings: Mapping[str, tuple[Standing, ...]], types: Iterable[type[Resource]], *bases: type[Resource]
) -> tuple[Standing, ...]:
    """All of the kinds that derive from one of `bases`, by namespace."""
    found = [s for type in types if issubclass(type, bases) for s in standings.get(type.KIND.kind, ())]
    return tuple(sorted(found, key=lambda s: (s.namespace, s.kind, s.name)))


def stand(type: type[Resource], obj: Object) -> Standing:
    """How one object stands, by its own conditions."""
    metadata, status = obj["metadata"], observed.status_of(obj)
    conditions = {c["type"]: c for c in status.get("conditions", ())}
    ready, stalled = conditions.get("Ready", {}), conditions.get("Stalled", {})
    shown = stalled if stalled.get("status") == "True" else ready
    return Standing(
        kind=type.KIND.kind,
        namespace=metadata.get("namespace", ""),
        name=metadata["name"],
        state=state_of(obj, ready, stalled),
        reason=shown.get("reason", ""),
        message=shown.get("message", ""),
        since=shown.get("lastTransitionTime", metadata.get("creationTimestamp", "")),
        details=details_of(type, obj),
    )


def state_of(obj: Object, ready: Object, stalled: Object) -> str:
    """One word for how an object stands."""
    if obj["metadata"].get("deletionTimestamp"):
        return DELETING
    if stalled.get("status") == "True":
        return STALLED
    if not ready:
        return UNSEEN
    if (obj.get("spec") or {}).get("suspend"):
        return SUSPENDED
    return READY if ready.get("status") == "True" else WAITING


def details_of(type: type[Resource], obj: Object) -> dict[str, Any]:
    """What the tables show besides."""
    spec, status = obj.get("spec") or {}, observed.status_of(obj)
    if issubclass(type, App):
        broken = [c for c in status.get("components", ()) if not c.get("ready")]
        return {
            "version": status.get("version", ""),
            "url": status.get("url", ""),
            "components": [{"name": c["name"], "message": c.get("message", "")} for c in broken],
        }
    if issubclass(type, Claim):
        return {"class": status.get("className", ""), "secret": (status.get("binding") or {}).get("name", "")}
    if issubclass(type, AppClaim):
        app = status.get("app") or {}
        named = f"{type.APP.lower()}/{app['name']} in {app['namespace']}" if app else ""
        return {"app": named, "secret": (status.get("binding") or {}).get("name", "")}
    annotations = obj["metadata"].get("annotations") or {}
    return {
        "serves": spec.get("claimKind", ""),
        "driver": spec.get("driver", ""),
        "default": annotations.get(DEFAULT_CLASS) == "true",
        "claims": status.get("claims", 0),
        "capabilities": status.get("capabilities", []),
        "deletionPolicy": spec.get("deletionPolicy", ""),
        "parameters": spec.get("parameters", {}),
        "server": status.get("server", ""),
        "url": status.get("url", ""),
    }


def judge(standing: Standing, now: datetime) -> Problem | None:
    """What is wrong with an object, if anything is, and the way out."""
    name = f"{standing.handle} in {standing.namespace}" if standing.namespace else standing.handle
    edit = f"kubectl {'-n ' + standing.namespace + ' ' if standing.namespace else ''}edit {standing.handle}"
    if standing.state == STALLED:
        return Problem(name, standing.message or standing.reason, f"change what the message names: {edit}")
    slow = age_of(standing.since, now) > SLOW
    if standing.state == UNSEEN and slow:
        return Problem(name, "no operator has looked at it yet", "see to the operator: libresh logs operator")
    if standing.state == DELETING and slow:
        why = standing.message or "its deletion does not end"
        return Problem(name, f"it is being deleted: {why}", "see to the operator: libresh logs operator")
    if standing.state == WAITING and slow:
        return Problem(name, f"not ready for {said_age(standing.since, now)}: {standing.message}", advise(standing))
    return None


def advise(standing: Standing) -> str:
    """Where to look for what an object waits for."""
    if "class" in standing.details and not standing.details["class"]:
        return "choose a class: libresh class list"
    if "url" in standing.details and standing.namespace:
        return f"libresh logs {standing.handle} -n {standing.namespace}"
    scope = f"-n {standing.namespace} " if standing.namespace else ""
    return f"kubectl {scope}describe {standing.handle}"


def judge_operator(seen: Seen) -> tuple[str, list[Problem]]:
    """One line on the operator, and what is wrong with it."""
    if seen.operator is None:
        return "not installed", [Problem("the operator", "it is not installed in this cluster", "libresh install")]
    status, wanted = observed.status_of(seen.operator), observed.replicas_of(seen.operator)
    ready = status.get("readyReplicas", 0)
    image = seen.operator["spec"]["template"]["spec"]["containers"][0]["image"]
    line = f"{ready} of {wanted} ready, {image}"
    if wanted == 0:
        scale = "kubectl -n libresh-system scale deployment/libresh-operator --replicas=1"
        return "switched off", [Problem("the operator", "it is scaled to none: nothing is looked after", scale)]
    if ready:
        return line, []
    why = trouble_of_operator(operator_pods(seen.pods)) or "its pod does not get ready"
    do = "libresh install --image-prefix P, where P is a registry that has it" if why.startswith("image") else ""
    return line, [Problem("the operator", f"it does not run: {why}", do or "libresh logs operator")]


def operator_pods(pods: Sequence[Object]) -> list[Object]:
    """Those of the operator itself."""
    return [pod for pod in pods if (pod["metadata"].get("labels") or {}).get(naming.NAME_LABEL) == OPERATOR]


def trouble_of_operator(pods: Sequence[Object]) -> str:
    """What keeps the operator's pods from getting ready; also that they start again and again."""
    for pod in pods:
        for container in observed.status_of(pod).get("containerStatuses", ()):
            ended = (
                container.get("state", {}).get("terminated") or container.get("lastState", {}).get("terminated")
            ) or {}
            if container.get("restartCount", 0) > 1 and not container.get("ready") and ended:
                return f"it starts and ends with {ended.get('exitCode')} again and again ({ended.get('reason', '')})"
    return observed.trouble_of(pods)


def judge_nodes(seen: Seen) -> list[Problem]:
    """Nodes that do not answer."""
    return [
        Problem(
            f"node {node['metadata']['name']}", "it is not ready", f"kubectl describe node {node['metadata']['name']}"
        )
        for node in seen.nodes
        if not observed.says_ready(node)
    ]


def judge_definitions(seen: Seen, types: Sequence[type[Resource]]) -> list[Problem]:
    """Kinds that the cluster does not know, or that this person may not see."""
    missing = [t.KIND.kind for t in types if t.KIND.kind not in seen.objects and t.KIND.kind not in seen.unreadable]
    found = []
    if missing and seen.operator is not None:
        found.append(Problem("the kinds", f"the cluster does not know {', '.join(missing)}", "libresh install"))
    if seen.unreadable:
        why = f"you may not list {', '.join(seen.unreadable)}"
        found.append(Problem("your rights", why, "ask for the role view, or name a namespace with -n"))
    return found


def count_nodes(nodes: Sequence[Object]) -> str:
    ready = sum(observed.says_ready(node) for node in nodes)
    return f"{ready} of {len(nodes)} nodes ready" if nodes else ""


def age_of(since: str, now: datetime) -> timedelta:
    """How long ago an RFC 3339 time was; nothing where there is none."""
    try:
        return now - datetime.fromisoformat(since.replace("Z", "+00:00")).astimezone(UTC)
    except ValueError:
        return timedelta()


def said_age(since: str, now: datetime) -> str:
    """An age as people say it."""
    seconds = int(age_of(since, now).total_seconds())
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{max(seconds, 0)} s"
