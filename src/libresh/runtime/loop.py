"""The one loop: load, observe, decide, perform, report.

settled, waiting, stalled   look again after the decision's recheck, or when something it read changes
waiting, and it wrote       what it saw is not so any more: look again at once, and say then how it stands
Unavailable                 the status stays, look again with backoff; after a while it is said
Conflict                    look again at once, silently
Pending                     waiting: the thing that is missing brings us back
delegated                   only our part of the status is written: another controller says how it stands
other LibreshError          stalled, with its words; look again with backoff
any other exception         a bug: InternalError, the traceback in the log, look again with backoff
"""

import itertools
import logging
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from libresh.api import conditions
from libresh.api.meta import Resource
from libresh.errors import Conflict, LibreshError, Unavailable
from libresh.kube.applying import Owner, Performer
from libresh.kube.cache import Key
from libresh.kube.cluster import Cluster
from libresh.kube.errors import NotFound, Pending
from libresh.kube.objects import ENCODER, Entry
from libresh.kube.reader import InvalidObject, PassReader, typed
from libresh.plan import naming
from libresh.plan.actions import Apply, Mint, Object, Ref, Release
from libresh.plan.decision import SETTLED_RECHECK, Decision, Delegated, Extra, Settled, Stalled, Waiting
from libresh.ports import COMPOSED, Reconciler
from libresh.runtime import status
from libresh.runtime.events import Recorder, worth_telling
from libresh.runtime.logs import PASS
from libresh.runtime.metrics import Metrics

log = logging.getLogger(__name__)

PATIENCE = 5
"""After so many failures in a row for want of a service, the status says so."""

UNSAID = 3
"""So many passes in a row may leave it to the next one to say what is waited for."""

IDS = itertools.count(1)


class End(Enum):
    """How a pass ended. The values are those of the usual metric."""

    GONE = "gone"
    SETTLED = "success"
    AGAIN = "requeue_after"
    STALLED = "stalled"
    CONFLICT = "requeue"
    FAILED = "error"


@dataclass(frozen=True, slots=True)
class Result:
    """What a pass means for the queue. `recheck` is None where the queue's backoff decides."""

    end: End
    recheck: float | None = None
    wrote: int = 0
    error: Exception | None = None
    decision: Decision | None = None
    read: int = 0
    """How many objects the pass looked at."""


@dataclass(slots=True)
class Pass:
    """One look at one object."""

    key: Key
    entry: Entry
    reader: PassReader
    owner: Owner
    obj: Resource | None = None
    decision: Decision | None = None
    wrote: int = 0
    released: bool = False

    @property
    def stored(self) -> status.Stored:
        """The status the object has."""
        return status.stored_status(self.entry, self.obj)


class Loop:
    """Runs one reconciler over one object at a time."""

    def __init__(
        self,
        cluster: Cluster,
        reconciler: Reconciler[Any],
        performer: Performer | None = None,
        recorder: Recorder | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        self.cluster = cluster
        self.reconciler = reconciler
        self.kind: str = reconciler.type.KIND.kind
        self.performer = performer or Performer(cluster)
        self.recorder = recorder or Recorder(None)
        self.metrics = metrics or Metrics()
        watches = reconciler.watches
        self.allowed = frozenset({self.kind, *(watched.kind for watched in watches)})
        self.writes = frozenset(watched.kind for watched in watches if watched.writes)
        self.pruned = tuple(sorted(self.writes - {COMPOSED}))
        self.time = self.metrics.time.at(self.kind)
        self.readiness: dict[Key, str] = {}
        """The status of Ready of every object, as last reported."""
        self.metrics.collectors.append(self._collect)
        self._refused_status: dict[Key, tuple[Any, int]] = {}
        self._unsaid: dict[Key, int] = {}
        """How many passes in a row have not said what is waited for."""

    async def once(self, key: Key | Ref, failures: int = 0) -> Result:
        """One pass. `failures` says how many passes failed before it."""
        if isinstance(key, Ref):
            key = (key.kind, key.namespace, key.name)
        entry = self.cluster.cache(self.kind).get(key[1], key[2])
        if entry is None:
            self.cluster.forget(key)
            self._refused_status.pop(key, None)
            self._unsaid.pop(key, None)
            self.readiness.pop(key, None)
            return Result(End.GONE)
        meta = entry.meta
        if meta.deletion_timestamp is not None and naming.FINALIZER not in meta.finalizers:
            return Result(End.GONE)  # others hold it, or it is on its way out: it is not ours to act on any more
        if meta.deletion_timestamp is not None and not self.reconciler.finalizer:
            await self.performer.drop_finalizer(key)  # set by a version of us that had something to do here
            return Result(End.GONE, wrote=1)
        reader = PassReader(self.cluster, key, meta.uid, self.allowed)
        owner = Owner(key, meta.uid, reader, self.writes)
        run = Pass(key, entry, reader, owner)
        token = PASS.set(
            {"kind": key[0], "namespace": key[1], "name": key[2], "generation": meta.generation, "pass": next(IDS)}
        )
        started = time.perf_counter()
        try:
            result = replace(await self._guarded(run, failures), read=reader.count)
        finally:
            duration = time.perf_counter() - started
            PASS.reset(token)
        self.time.observe(duration)
        self.metrics.passes.add(self.kind, result.end.value)
        if log.isEnabledFor(logging.DEBUG):
            self._log(run, result, duration)
        return result

    async def _guarded(self, run: Pass, failures: int) -> Result:
        """Runs the pass and turns whatever is raised into a status and a time to look again."""
        try:
            return await self._pass(run)
        except Conflict as error:
            return Result(End.CONFLICT, wrote=run.wrote, error=error)
        except Unavailable as error:
            log.info("the pass could not be finished: %s", error)
            if failures >= PATIENCE:
                waiting = Waiting(status.UNAVAILABLE, str(error), ready=run.stored.is_ready())
                await self._report_failure(run, conditions.conditions_for(waiting))
            return self._failed(run, error)
        except Pending as error:
            outcome = status.outcome_of(error, ready=self._still_ready(run))
            await self._report_failure(run, conditions.conditions_for(outcome))
            return Result(End.AGAIN, outcome.recheck.total_seconds(), run.wrote, error, run.decision)
        except LibreshError as error:
            log.info("refused: %s", error)
            outcome = status.outcome_of(error, ready=self._still_ready(run))
            await self._report_failure(run, conditions.conditions_for(outcome))
            self.metrics.stalled.add(self.kind)
            return self._failed(run, error)
        except Exception as error:
            log.exception("the pass failed")
            await self._report_failure(run, bug(error))
            return self._failed(run, error)
        finally:
            run.reader.remember()

    def _failed(self, run: Pass, error: Exception) -> Result:
        self.metrics.errors.add(self.kind)
        return Result(End.FAILED, None, run.wrote, error, run.decision)

    async def _pass(self, run: Pass) -> Result:
        """The pass itself."""
        try:
            obj = run.obj = typed(self.cluster.cache(self.kind), run.entry)
        except InvalidObject as error:
            await self._report(run, conditions.conditions_for(status.outcome_of(error, ready=False)), None)
            return Result(End.STALLED, SETTLED_RECHECK.total_seconds(), run.wrote, error)
        if getattr(obj.spec, "suspend", False) and not obj.deleting:
            await self._report(run, status.suspended(run.stored), None)
            return Result(End.SETTLED, SETTLED_RECHECK.total_seconds(), run.wrote)
        seen = await self.reconciler.observe(obj, run.reader)
        decision = run.decision = self.reconciler.decide(obj, seen)
        await self._perform(run, decision)
        if self._is_passing(run, decision):
            return Result(End.AGAIN, 0.0, run.wrote, decision=decision)
        if not run.released:
            extras = conditions.conditions_for(decision.outcome, decision.conditions)
            await self._report(run, extras, decision.status, shared=isinstance(decision.outcome, Delegated))
        return Result(end_of(decision), decision.outcome.recheck.total_seconds(), run.wrote, decision=decision)

    async def _perform(self, run: Pass, decision: Decision) -> None:
        """Performs the actions in order, then prunes."""
        obj = run.obj
        assert obj is not None
        if decision.actions and self.reconciler.finalizer and not obj.deleting:
            run.wrote += await self.performer.hold(run.key)
        for action in decision.actions:
            changed = await self.performer.perform(action, run.owner)
            if changed:
                run.wrote += 1
                self.metrics.writes.add(self.kind, type(action).__name__)
            if isinstance(action, Release):
                run.released = True
        if decision.prune:
            keep = {self._key_of(action) for action in decision.actions if isinstance(action, Apply | Mint)}
            pruned = await self.performer.prune(run.owner, self.pruned, keep)
            if pruned:
                run.wrote += pruned
                self.metrics.writes.add(self.kind, "Prune", by=pruned)

    def _is_passing(self, run: Pass, decision: Decision) -> bool:
        """Whether what is waited for need not be said: the pass changed what it saw, and the next one sees that.

        What goes on record (the kind's own fields) is never put off, and neither is anything for long.
        """
        passing = run.wrote and isinstance(decision.outcome, Waiting) and run.stored.holds(decision.status)
        count = self._unsaid.pop(run.key, 0) + 1
        if not passing or count > UNSAID:
            return False
        self._unsaid[run.key] = count
        return True

    def _key_of(self, action: Apply | Mint) -> Key:
        if isinstance(action, Mint):
            return ("Secret", action.ref.namespace, action.ref.name)
        meta = action.object["metadata"]
        kind = self.cluster.kinds.name_of(action.object["apiVersion"], action.object["kind"])
        return (kind, meta.get("namespace", ""), meta["name"])

    def _still_ready(self, run: Pass) -> bool:
        """Whether what runs works although an effect failed: as far as the decision saw it working."""
        outcome = run.decision.outcome if run.decision else None
        if isinstance(outcome, Waiting | Stalled):
            return outcome.ready
        return False

    # --- reporting -------------------------------------------------------------------------------------------

    async def _report_failure(self, run: Pass, extras: Sequence[Extra]) -> None:
        """Reports as well as it can: whatever failed may stand in the way of the report, too."""
        if run.decision and isinstance(run.decision.outcome, Delegated):
            return  # how it stands is another controller's to say
        try:
            await self._report(run, extras, run.decision.status if run.decision else None)
        except LibreshError as error:
            log.info("the status could not be written: %s", error)

    async def _report(
        self, run: Pass, extras: Sequence[Extra], fields: Mapping[str, Any] | None, *, shared: bool = False
    ) -> None:
        """Writes the status, if it differs. Without `fields` the kind's own fields stay as they are.

        `shared`: another controller writes this status, too; what is not named here is not ours to touch.
        """
        meta, stored, now = run.entry.meta, run.stored, run.reader.now
        build = status.build_part if shared else status.build_status
        own = stored.fields if fields is None else fields
        wanted, merged = build(own, extras, stored, generation=meta.generation, now=now)
        ready = conditions.find(merged, conditions.READY) or conditions.find(stored.conditions, conditions.READY)
        self.readiness[run.key] = ready.status if ready is not None else "Unknown"
        if wanted == (status.part_of(stored.fields, wanted) if shared else stored.fields):
            return
        wanted = status.without_nothing(wanted)
        known = status.part_of(stored.fields, wanted) if shared else stored.fields
        if wanted == known or self._refused_status.get(run.key) == (wanted, run.entry.version):
            return
        fresh = await self._write_status(run, wanted)
        if fresh is None:
            return  # the object was deleted meanwhile: the watch will say so
        run.wrote += 1
        kept = status.stored_status(fresh).fields
        if (status.part_of(kept, wanted) if shared else kept) != wanted:
            log.warning(
                "the API server keeps the status of %s %s different from what was written", self.kind, meta.name
            )
            self._refused_status[run.key] = (wanted, fresh.version)
        if run.obj is not None and (told := worth_telling(stored.conditions, merged)):
            self.recorder.record(run.obj, told, now)
            for condition in told:
                log.info("%s is %s: %s: %s", condition.type, condition.status, condition.reason, condition.message)

    async def _write_status(self, run: Pass, wanted: Object) -> Entry | None:
        """The object as it is with that status, None where it is gone."""
        meta = run.entry.meta
        body = {
            "apiVersion": self.reconciler.type.KIND.api_version,
            "kind": self.kind,
            "metadata": {"name": meta.name, "uid": meta.uid},
            "status": wanted,
        }
        with self.cluster.writing(run.key):
            try:
                answer = await self.performer.client.apply_raw(
                    self.kind, meta.name, meta.namespace, ENCODER.encode(body), subresource="status"
                )
            except NotFound:
                return None
            return self.cluster.learn(self.kind, answer, source=run.key)

    def _collect(self) -> None:
        counts = Counter(self.readiness.values())
        for word in ("True", "False", "Unknown"):
            self.metrics.ready.set(counts[word], self.kind, word)

    def _log(self, run: Pass, result: Result, duration: float) -> None:
        fields: dict[str, Any] = {"result": result.end.value, "writes": result.wrote, "ms": round(duration * 1000, 2)}
        if result.decision is not None:
            fields["outcome"] = type(result.decision.outcome).__name__
        log.debug("pass %s %s/%s", *run.key, extra={"fields": fields})


def end_of(decision: Decision) -> End:
    match decision.outcome:
        case Settled():
            return End.SETTLED
        case Delegated():
            return End.SETTLED
        case Waiting():
            return End.AGAIN
    return End.STALLED


def bug(error: Exception) -> list[Extra]:
    """What people are told of a bug: where it is, but not the error's own words, which may hold anything."""
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    where = f" in {place.tb_frame.f_code.co_qualname}" if place is not None else ""
    message = f"libre.sh met a bug of its own ({type(error).__name__}{where}): the operator's log has the details"
    return [
        Extra(conditions.READY, False, status.INTERNAL_ERROR, message),
        Extra(conditions.RECONCILING, True, status.INTERNAL_ERROR, message),
    ]
