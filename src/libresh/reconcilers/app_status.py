"""What an application's status says, and what is read back from it."""

from typing import TYPE_CHECKING, Any

from libresh.api.apps import App
from libresh.api.conditions import READY, find
from libresh.catalog.build import MIGRATED_ANNOTATION, is_own
from libresh.catalog.model import Cron, Refusal, Task
from libresh.catalog.profile import Effective
from libresh.plan import naming, observed
from libresh.plan.actions import Object, Ref
from libresh.reconcilers.app_needs import message_of

if TYPE_CHECKING:
    from libresh.reconcilers.app import Observed


def short(ref: Ref) -> str:
    """A reference within the application's own namespace."""
    return f"{ref.kind} {ref.name}"


def build(app: App, seen: "Observed") -> Object:
    """The application's own status fields."""
    assert isinstance(seen.effective, Effective)
    status: Object = {
        "backing": backing(seen),
        "components": components(app, seen),
        "effective": dict(seen.effective.given),
        "kept": kept(app, seen),
    }
    optional = {
        "profile": seen.effective.profile,
        "url": f"https://{seen.effective.spec.host}" if seen.parts and seen.parts.routes else "",
        "version": running_version(app, seen, ready=True),
    }
    return status | {key: value for key, value in optional.items() if value}


def backing(seen: "Observed") -> list[Object]:
    """The services behind, by role."""
    found = [
        {"role": each.need.role, "ref": each.handle, "ready": each.is_ready, "message": message_of(each)}
        for each in seen.backing
    ]
    return [without_empty(each) for each in sorted(found, key=lambda each: str(each["role"]))]


def components(app: App, seen: "Observed") -> list[Object]:
    """The parts that run, by name."""
    found: list[Object] = []
    for each in seen.parts.components if seen.parts else ():
        if isinstance(each, Task | Cron):
            continue
        workload = seen.workloads.get(f"{app.name}-{each.name}")
        ready = observed.is_rolled_out(workload, observed.replicas_of(workload)) if workload else False
        pods = [pod for pod in seen.pods if pod["metadata"]["labels"].get(naming.COMPONENT_LABEL) == each.name]
        message = "" if ready else observed.trouble_of(pods) or ("starting" if workload else "not started yet")
        found.append(without_empty({"name": each.name, "ready": ready, "message": message}))
    return sorted(found, key=lambda each: str(each["name"]))


def without_empty(values: Object) -> Object:
    return {key: value for key, value in values.items() if value != ""}


def kept(app: App, seen: "Observed") -> list[str]:
    """What stays when the application is deleted."""
    found = [f"{view.metadata.name}" for view in seen.kept.values() if view is not None]
    names = [f"Secret {name}" for name in found]
    names += [f"PersistentVolumeClaim {app.name}-{part}" for part in seen.volumes]
    if seen.backing:
        names += [each.handle for each in seen.backing if each.need.data and (each.claim or each.secret)]
    else:
        names += [short(claim.ref) for claim in seen.claims]
    if policy_of(seen.effective) == "Delete":
        names = [each.handle for each in seen.backing if each.need.data and not is_own(each.need) and not each.is_ours]
    return sorted(names)


def policy_of(effective: "Effective | Refusal") -> str:
    """What becomes of the data. Where the settings in force cannot be told, nothing is destroyed."""
    return effective.spec.deletion_policy if isinstance(effective, Effective) else "Retain"


def running_version(app: App, seen: "Observed", *, ready: bool = False) -> str:
    """The version of the main component, as it was started; with `ready`, as it last was ready."""
    main = seen.parts.components[0].name if seen.parts else ""
    workload: Any = seen.workloads.get(f"{app.name}-{main}")
    if workload is None:
        return app.status.version or ""
    version = str(workload["metadata"].get("labels", {}).get(naming.VERSION_LABEL, ""))
    if ready and not observed.is_rolled_out(workload, observed.replicas_of(workload)):
        return app.status.version or ""
    return version


def marks_of(workload: Object) -> tuple[str, ...]:
    """The tasks that were done before a workload was started."""
    text = (workload["metadata"].get("annotations") or {}).get(MIGRATED_ANNOTATION, "")
    return tuple(mark for mark in text.split(",") if mark)


def has_reason(app: App, reason: str, message: str) -> bool:
    """Whether Ready already says this."""
    condition = find(app.status.conditions, READY)
    return condition is not None and condition.reason == reason and condition.message == message
