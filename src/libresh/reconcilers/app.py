"""Applications: bind what they need, migrate, run, route.

    refused ──> a person edits
       │
    services missing ──> bound ──> tasks (migration) ──> rolling out ──> settled
                           ^                                               │
                           └───────── a setting, release or secret changed ┘

One reconciler serves every kind of application: what differs is in the packages.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Generic, TypeVar

import msgspec

from libresh.api import CLAIMS
from libresh.api.apps import App, AppProfile
from libresh.api.claims import Claim
from libresh.apps import packages
from libresh.catalog.build import (
    Builder,
    build_claim,
    is_own,
    rebuild_claim,
    task_mark,
    tasks,
    workloads,
)
from libresh.catalog.model import AnyPackage, Component, Instance, Need, Parts, Refusal, Task
from libresh.catalog.profile import Effective, look_up, resolve
from libresh.catalog.releases import Release
from libresh.catalog.settings import Settings
from libresh.plan import naming, observed
from libresh.plan.actions import Action, Apply, Delete, Object, Ref
from libresh.plan.actions import Release as LetGo
from libresh.plan.decision import Decision, Outcome, Settled, Stalled, Waiting, refuse
from libresh.ports import Reader, SecretView, Watched
from libresh.reconcilers import app_refusals, app_status
from libresh.reconcilers.app_needs import Backing, bindings_of, find_unfit, missing, observe_backing, plan_copies
from libresh.reconcilers.granting import NAMESPACES
from libresh.reconcilers.recorded import unchanged

A = TypeVar("A", bound=App)

PREPARING = "Preparing"
"""Generated secrets are being made."""
RUNNING_TASKS = "RunningTasks"
"""A task that must come first, such as a schema migration, runs."""
TASK_FAILED = "TaskFailed"
"""Such a task failed for good."""
ROLLING_OUT = "RollingOut"
"""Pods are being started or replaced."""
DELETING = "Deleting"
"""The application is being taken away."""

WORKLOADS = ("CronJob", "Deployment")
AT_ONCE = timedelta(milliseconds=50)


@dataclass(frozen=True)
class NamedHost:
    """A host of this application, and who else names it."""

    path: str
    host: str
    rivals: tuple[App, ...]


@dataclass(frozen=True)
class Observed:
    """Everything `decide` may know."""

    effective: Effective | Refusal
    release: Release | None = None
    backing: tuple[Backing, ...] = ()
    parts: Parts | None = None
    """All the package wants, once everything it needs is bound."""
    instance: Instance[Any] | None = None
    workloads: Mapping[str, Object] = field(default_factory=dict)
    """Deployments and CronJobs that are there, by name."""
    jobs: Mapping[str, Object] = field(default_factory=dict)
    pods: Sequence[Object] = ()
    claims: tuple[Claim, ...] = ()
    """The claims made for this application, whether it still needs them or not."""
    kept: Mapping[str, SecretView | None] = field(default_factory=dict)
    """Secrets that are data, by part."""
    volumes: tuple[str, ...] = ()
    """Volumes that are data and are there, by part."""
    hosts: tuple[NamedHost, ...] = ()


class AppReconciler(Generic[A]):
    """Reconciles one kind of application."""

    finalizer = True

    def __init__(self, package: AnyPackage, settings: Settings, others: Sequence[AnyPackage] | None = None) -> None:
        self.package = package
        self.type: type[A] = package.kind  # type: ignore[assignment]
        self.settings = settings
        self.packages = tuple(others if others is not None else packages().values())
        made = ("ConfigMap", "CronJob", "Deployment", "Ingress", "Job", "NetworkPolicy", "PersistentVolumeClaim")
        self.watches = (
            *(Watched(each.kind_name, writes=each is package, managed=False) for each in self.packages),
            Watched(AppProfile.KIND.kind, managed=False),
            *(Watched(claim.KIND.kind, writes=True, managed=False) for claim in CLAIMS),
            *(Watched(kind, writes=True) for kind in (*made, "Secret", "Service", "ServiceAccount")),
            Watched("Pod"),
            NAMESPACES,
        )

    async def observe(self, obj: A, reader: Reader) -> Observed:
        """Reads the settings in force, the services behind, what runs, and who else wants the hosts."""
        raw = (await reader.get(obj.ref) or {}).get("spec") or {}
        effective = resolve(self.package, obj, raw, await reader.declared(AppProfile))
        running = {each["metadata"]["name"]: each for kind in WORKLOADS for each in await reader.owned(kind, obj)}
        jobs = {each["metadata"]["name"]: each for each in await reader.owned("Job", obj)}
        claims = tuple([each for claim in CLAIMS for each in await owned_claims(claim, obj, reader)])
        kept = {
            each.part: await reader.secret(obj.namespace, f"{obj.name}-{each.part}", ours=True)
            for each in self.kept("Secret")
        }
        seen = Observed(
            effective,
            workloads=running,
            jobs=jobs,
            pods=await observe_pods(obj, running, jobs, reader),
            claims=claims,
            kept=kept,
            volumes=await self.observe_volumes(obj, reader),
        )
        if isinstance(effective, Refusal):
            return seen
        needs = self.package.needs(obj, effective.spec)
        backing = tuple([await self.observe_backing(obj, need, reader) for need in needs])
        release = self.package.releases.choose(effective.spec.version)
        seen = replace(seen, release=release, backing=backing, hosts=await self.observe_hosts(obj, raw, reader))
        return self.with_parts(obj, seen)

    def kept(self, kind: str) -> list[Any]:
        return [each for each in self.package.kept if each.kind == kind]

    def with_parts(self, obj: A, seen: Observed) -> Observed:
        """The same with all the package wants, once everything it needs is bound."""
        assert isinstance(seen.effective, Effective)
        spec, release, bindings = seen.effective.spec, seen.release, bindings_of(obj, seen.backing)
        if release is None or bindings is None or not app_refusals.fits(self.package, obj, spec, release):
            return seen
        instance = Instance(obj, spec, release, self.settings, bindings)
        return replace(seen, instance=instance, parts=self.package.parts(instance))

    async def observe_volumes(self, obj: A, reader: Reader) -> tuple[str, ...]:
        """The kept volumes that are there and are this application's."""
        mine, found = naming.owner_value(obj.KIND.kind, obj.name), []
        for each in self.kept("PersistentVolumeClaim"):
            volume = await reader.get(Ref(each.kind, f"{obj.name}-{each.part}", obj.namespace))
            if volume and volume["metadata"].get("labels", {}).get(naming.KEPT_FOR_LABEL) == mine:
                found.append(each.part)
        return tuple(found)

    async def observe_backing(self, obj: A, need: Need, reader: Reader) -> Backing:
        """One service behind, and who else would keep data there."""
        found = await observe_backing(obj, need, reader)
        if not need.data or need.wish.claim is None:
            return found
        rivals = [
            each
            for package in self.packages
            for each in await reader.find(package.kind, f"spec.{need.role}.claim", found.ref.name)
            if each.ref != obj.ref and claim_space(each, need.role) == found.ref.namespace
        ]
        return replace(found, rivals=tuple(rivals))

    async def observe_hosts(self, obj: A, raw: Object, reader: Reader) -> tuple[NamedHost, ...]:
        """The hosts of this application, and other applications, of any kind, that name them."""
        named = [(path, look_up(raw, path)) for path in self.package.host_fields]
        return tuple(
            [NamedHost(path, host, await self.observe_namers(obj, host, reader)) for path, host in named if host]
        )

    async def observe_namers(self, obj: A, host: str, reader: Reader) -> tuple[App, ...]:
        """The other applications that name a host."""
        found = {
            (package.kind_name, each.namespace, each.name): each
            for package in self.packages
            for path in package.host_fields
            for each in await reader.find(package.kind, f"spec.{path}", host)
        }
        found.pop((obj.KIND.kind, obj.namespace, obj.name), None)
        return tuple(found[key] for key in sorted(found))

    def decide(self, obj: A, seen: Observed) -> Decision:
        """Pure: what should exist for this application and how it stands."""
        if obj.deleting:
            return self.let_go(obj, seen)
        if stop := app_refusals.first(self.package, obj, seen):
            stalled = Stalled(stop.reason, stop.message, ready=is_serving(seen))
            return Decision(stalled, unchanged(obj))
        assert isinstance(seen.effective, Effective)
        actions = plan_claims(obj, seen)
        lacking, unfit = missing(seen.backing), find_unfit(seen.backing)
        if seen.instance is None or seen.parts is None or (unfit and not seen.workloads):
            early = unfit or lacking
            assert early is not None
            return Decision(early, app_status.build(obj, seen), actions)
        builder = Builder(seen.instance, seen.parts)
        actions += (*builder.secrets(), *builder.foundations())
        outcome, more, complete = self.run(obj, seen, builder, lacking)
        outcome = refuse(unfit, outcome) if unfit else outcome
        status = app_status.build(obj, seen)
        return Decision(outcome, status, actions + more, prune=complete)

    def run(
        self, obj: A, seen: Observed, builder: Builder, lacking: Outcome | None
    ) -> tuple[Outcome, tuple[Action, ...], bool]:
        """Tasks, then workloads. Says whether that was all there is, so that the rest may go."""
        if lacking is not None and not seen.workloads:
            return lacking, (), False
        first, more, done = plan_tasks(seen, builder)
        if first is not None:
            return first, more, False
        digests = {part: view.digest if view else "" for part, view in seen.kept.items()}
        if unseen := sorted(part for part, view in seen.kept.items() if view is None):
            names = ", ".join(f"Secret {obj.name}-{part}" for part in unseen)
            return Waiting(PREPARING, f"Waiting for {names} to be made", ready=is_serving(seen)), more, False
        wanted = [(each, builder.workload(each, digests, done)) for each in workloads(builder.parts)]
        more += tuple(Apply(workload) for _, workload in wanted)
        return lacking or conclude(obj, seen, wanted), more, True

    def let_go(self, obj: A, seen: Observed) -> Decision:
        """Deletion. Under Delete first what runs goes, then the claims with their data, then the kept secrets."""
        policy = app_status.policy_of(seen.effective)
        data = app_status.kept(obj, seen)
        if policy == "Retain":
            message = f"Deleted; kept: {', '.join(data) or 'nothing, as there was nothing yet'}"
            if not app_status.has_reason(obj, DELETING, message):
                return Decision(Waiting(DELETING, message, recheck=AT_ONCE), unchanged(obj))
            return Decision(Settled(message), {}, (*follow_policy(obj, seen, policy), LetGo()))
        running = [Delete(ref_of(each), each["metadata"]["uid"]) for each in seen.workloads.values()]
        if running:
            names = ", ".join(sorted(str(action.ref) for action in running))
            return Decision(Waiting(DELETING, f"Stopping {names}"), unchanged(obj), tuple(running))
        if seen.claims:
            names = ", ".join(sorted(str(claim.ref) for claim in seen.claims))
            gone = tuple(Delete(claim.ref, claim.metadata.uid) for claim in seen.claims)
            waiting = Waiting(DELETING, f"Waiting for {names} and the data behind to be gone")
            return Decision(waiting, unchanged(obj), (*follow_policy(obj, seen, policy), *gone))
        return Decision(Settled("All is removed"), {}, (*forget(obj, seen), LetGo()))


def claim_space(app: App, role: str) -> str:
    """The namespace of the claim that an application names for a role."""
    return str(look_up(msgspec.to_builtins(app.spec), f"{role}.namespace") or app.namespace)


async def owned_claims(claim: type[Claim], obj: App, reader: Reader) -> list[Claim]:
    """The claims of one kind that were made for this application."""
    names = [each["metadata"]["name"] for each in await reader.owned(claim.KIND.kind, obj)]
    found = [await reader.load(claim, name, obj.namespace) for name in names]
    return [each for each in found if each is not None]


async def observe_pods(
    obj: App, running: Mapping[str, Object], jobs: Mapping[str, Object], reader: Reader
) -> Sequence[Object]:
    """The pods, where something does not run yet: they say what is wrong."""
    settled = all(
        observed.is_rolled_out(each, observed.replicas_of(each)) for each in running.values() if is_deployment(each)
    )
    if running and settled and all(observed.job_result(job) is not None for job in jobs.values()):
        return ()
    return await reader.select("Pod", obj.namespace, {naming.OWNER_LABEL: naming.owner_value(obj.KIND.kind, obj.name)})


def ref_of(found: Object) -> Ref:
    return Ref(found["kind"], found["metadata"]["name"], found["metadata"]["namespace"])


def is_deployment(found: Object) -> bool:
    return bool(found["kind"] == "Deployment")


def is_serving(seen: Observed) -> bool:
    """Whether what was started before still works, whatever is wished now."""
    deployments = [each for each in seen.workloads.values() if is_deployment(each)]
    return bool(deployments) and all(observed.is_available(each) for each in deployments)


def plan_claims(obj: App, seen: Observed) -> tuple[Action, ...]:
    """The claims made for this application, and copies of the connections that others share with it.

    A claim that was made for it stays its own when the spec comes to name it: it must not be pruned.
    """
    policy = app_status.policy_of(seen.effective)
    claims = tuple(
        Apply(build_claim(obj, each.need, each.claim, deletion_policy=policy))
        for each in seen.backing
        if each.is_ours or (is_own(each.need) and not each.is_foreign)
    )
    return (*claims, *plan_copies(obj, seen.backing))


def plan_tasks(seen: Observed, builder: Builder) -> tuple[Outcome | None, tuple[Action, ...], tuple[str, ...]]:
    """The Jobs that come first: what is still to wait for, the Jobs themselves, and the marks of those done."""
    marks = {mark for each in seen.workloads.values() for mark in app_status.marks_of(each)}
    actions: list[Action] = []
    done: list[str] = []
    for task in tasks(builder.parts):
        job = builder.task(task)
        name = job["metadata"]["name"]
        result = observed.job_result(seen.jobs.get(name))
        if task_mark(task) in marks or result is True:
            done.append(task_mark(task))
            # It stays for reading its log, but need not be made again.
            actions += [Apply(job)] if name in seen.jobs else []
            continue
        if result is False:
            return failed(seen, task, name), (*actions, Apply(job)), ()
        return running_task(seen, task), (*actions, Apply(job)), ()
    return None, tuple(actions), tuple(done)


def failed(seen: Observed, task: Task, job: str) -> Stalled:
    """A task that failed for good: where its log is, and how to run it again."""
    assert seen.instance is not None
    namespace = seen.instance.app.namespace
    return Stalled(
        TASK_FAILED,
        f"{task.title or task.name} failed: read why with `kubectl logs -n {namespace} job/{job}`, and run it again "
        f"with `kubectl delete -n {namespace} job/{job}`",
        ready=is_serving(seen),
    )


def running_task(seen: Observed, task: Task) -> Waiting:
    pods = [pod for pod in seen.pods if pod["metadata"]["labels"].get(naming.COMPONENT_LABEL) == task.name]
    trouble = observed.trouble_of(pods)
    message = f"{task.title or task.name}" + (f": {trouble}" if trouble else "")
    return Waiting(RUNNING_TASKS, message, ready=is_serving(seen))


def conclude(obj: App, seen: Observed, wanted: Sequence[tuple[Component, Object]]) -> Outcome:
    """Settled once every component runs just as it should."""
    late = [component.name for component, workload in wanted if not is_current(seen, workload)]
    if not late:
        return Settled(f"{obj.KIND.kind} {obj.name} is up")
    pods = [pod for pod in seen.pods if pod["metadata"]["labels"].get(naming.COMPONENT_LABEL) in late]
    trouble = observed.trouble_of(pods)
    message = f"Waiting for {', '.join(sorted(late))} to be ready" + (f": {trouble}" if trouble else "")
    return Waiting(ROLLING_OUT, message)


def is_current(seen: Observed, workload: Object) -> bool:
    """Whether what runs is what is wanted now, and ready."""
    found = seen.workloads.get(workload["metadata"]["name"])
    if found is None or not is_deployment(found):
        return found is not None
    wanted = observed.replicas_of(workload)
    return content_of(found) == content_of(workload) and observed.is_rolled_out(found, wanted)


def content_of(workload: Object) -> str | None:
    """The digest of all that a workload's pods are."""
    annotations = workload["spec"]["template"]["metadata"].get("annotations") or {}
    content: str | None = annotations.get(naming.CONTENT_ANNOTATION)
    return content


def follow_policy(obj: App, seen: Observed, policy: str) -> tuple[Action, ...]:
    """The claims do as the application says, also when it said so just before it was deleted."""
    return tuple(
        Apply(rebuild_claim(obj, claim, deletion_policy=policy))
        for claim in seen.claims
        if claim.spec.deletion_policy != policy and not claim.deleting
    )


def forget(obj: App, seen: Observed) -> tuple[Action, ...]:
    """Removes kept objects that are this application's."""
    mine = naming.owner_value(obj.KIND.kind, obj.name)
    secrets = [
        Delete(Ref("Secret", view.metadata.name, obj.namespace), view.metadata.uid)
        for view in seen.kept.values()
        if view is not None and view.metadata.labels.get(naming.KEPT_FOR_LABEL) == mine
    ]
    volumes = [Delete(Ref("PersistentVolumeClaim", f"{obj.name}-{part}", obj.namespace)) for part in seen.volumes]
    return (*secrets, *volumes)


__all__ = ["AppReconciler", "Need", "Observed"]
