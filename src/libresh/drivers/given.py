"""Credentials that the server chooses, not libre.sh: an access key, a client's secret. The errand gives them back.

    place made ──> errand: the program has the server choose, and applies it to the place ──> on record ──> published
         another edition asked for ──> errand: both are let in ──> on record ──> published ──> errand: the old one goes

The place is a Secret beside the claim that is applied without data: what the program puts there belongs to the
program's own field manager, and stays. Its keys are `<edition>.<part>`, as `first.access-key-id`; an edition is what
one request for a rotation brought. The record is an annotation of it: which edition is published, by which errand it
came, and the state in which it was then, so that a value of another hand is noticed and the server asked again.

What a program found out that the server can do is told by further keys, `can.<what>`: names of keys are no secrets.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from libresh.api.claims import Claim
from libresh.drivers import errands
from libresh.drivers.accounts import AT_ONCE, PREPARING, ROTATE, ROTATING, unsure
from libresh.drivers.children import Children
from libresh.drivers.errands import Errand
from libresh.drivers.model import Ask, Provision, Seen, Withdrawal
from libresh.plan import naming
from libresh.plan.actions import Action, Apply, Delete, From, Ref, SecretKey, Value
from libresh.plan.decision import SETTLED_RECHECK, Outcome, Settled, Waiting
from libresh.ports import SecretView

FIRST = "first"
CAN = "can."


@dataclass(frozen=True)
class Given:
    """What a server chose for one claim, and how it is asked."""

    ask: Ask
    names: Children
    parts: tuple[str, ...]
    """What an edition has, such as `access-key-id` and `secret-access-key`."""
    errand: Callable[[str, tuple[str, ...], Mapping[str, Value]], Errand]
    """The errand of a task: for these editions, the one to be published last, with what is there of them as files
    named by their keys."""
    connect: Callable[[Callable[[str], SecretKey]], dict[str, Value]]
    """The connection secret; it is told where the published edition's parts are."""
    instance: str
    renewed: Mapping[str, datetime] = field(default_factory=dict)
    """When an edition should have a successor, where the server lets it end."""
    now: datetime | None = None

    @property
    def claim(self) -> Claim:
        return self.ask.claim

    @property
    def ref(self) -> Ref:
        return self.names.ref("Secret", "credentials")

    def key(self, edition: str, part: str) -> SecretKey:
        return SecretKey(self.ref.namespace, self.ref.name, f"{edition}.{part}")

    def keys(self, edition: str) -> frozenset[str]:
        return frozenset(f"{edition}.{part}" for part in self.parts)

    def plan(self, record: str) -> Apply:
        """The place, without data, and what is on record of it."""
        metadata = self.names.kept("credentials")
        if record:
            metadata["annotations"] = {naming.DONE_ANNOTATION: record}
        return Apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata})

    def record_of(self, view: SecretView | None) -> str:
        """What is on record: `<edition>/<errand>.<state>`; "" where that edition is not whole any more."""
        record = view.metadata.annotations.get(naming.DONE_ANNOTATION, "") if view else ""
        return record if view and self.keys(edition_of(record)) <= view.keys else ""

    def files(self, view: SecretView | None, editions: tuple[str, ...]) -> dict[str, Value]:
        """What is there of these editions already: the program keeps what works."""
        found = view.keys if view else frozenset()
        whole = [edition for edition in editions if self.keys(edition) <= found]
        return {key: From(SecretKey(self.ref.namespace, self.ref.name, key)) for e in whole for key in self.keys(e)}


# --- provide -----------------------------------------------------------------------------------------------------


def provide(given: Given, seen: Seen, missing: Callable[[bool], Outcome | None]) -> Provision:
    """The credentials as they should be, and how they stand. `missing`: what the cluster's operator has not provided,
    told whether what is published works meanwhile."""
    record = given.record_of(seen.secret(given.ref))
    ready = bool(record) and given.claim.status.binding is not None
    if stop := missing(ready):
        return Provision(stop, instance=given.instance, kept=(given.ref,))
    outcome, actions, record = tell(given, seen, record, ready=ready)
    known = edition_of(record)
    connection = given.connect(lambda part: given.key(known, part)) if known else None
    found = abilities_of(seen.secret(given.ref)) if known else ()
    return Provision(outcome, (given.plan(record), *actions), connection, given.instance, (given.ref,), found=found)


def tell(given: Given, seen: Seen, record: str, *, ready: bool) -> tuple[Outcome, tuple[Action, ...], str]:
    """Asks the server, unless it was asked: how that stands, what it takes, what is then on record."""
    view = seen.secret(given.ref)
    if view is None:
        # It has no owner, so that nothing brings the claim back when this pass has written it.
        return Waiting(PREPARING, "A place for the credentials is being made", AT_ONCE, ready), (), record
    editions = wanted_editions(given, edition_of(record))
    errand = given.errand("provide", editions, given.files(view, editions))
    told = f"{editions[-1]}/{errand.digest}.{view.digest}"
    if record == told:
        return settled(given, errand, editions[-1]), (), record
    if told.rpartition(".")[0] == record.rpartition(".")[0]:
        return anew("Somebody changed the credentials: the server is asked again", seen, record, ready=ready)
    course = errands.run(errand, seen, ready=ready)
    if not course.done:
        # Once begun an errand may have had its effect, whoever ends it: what was told before may be so no more.
        return course.outcome, course.actions, unsure(record)
    if not given.keys(editions[-1]) <= view.keys:
        return anew("What the server gave is not there: it is asked again", seen, record, ready=ready)
    if len(editions) > 1:
        return Waiting(ROTATING, "The new credentials are being published", AT_ONCE, ready), (), told
    return settled(given, errand, editions[-1]), (), told


def settled(given: Given, errand: Errand, edition: str) -> Settled:
    """Where credentials end, it is said when others will take their place, and looked at again just then."""
    done, due = f"{errand.server} has done what was asked", given.renewed.get(edition)
    if due is None or given.now is None:
        return Settled(done)
    recheck = min(SETTLED_RECHECK, max(due - given.now, AT_ONCE) + timedelta(seconds=1))
    return Settled(
        f"{done}; the credentials end, others take their place on {due:%Y-%m-%d at %H:%M} UTC", recheck=recheck
    )


def anew(why: str, seen: Seen, record: str, *, ready: bool) -> tuple[Outcome, tuple[Action, ...], str]:
    """A Job that ended says nothing of what happened since: it goes, then the errand is run again."""
    jobs = [Ref("Job", job["metadata"]["name"], job["metadata"]["namespace"]) for job in seen.jobs]
    return Waiting(PREPARING, why, AT_ONCE, ready), tuple(Delete(job) for job in jobs), unsure(record)


def abilities_of(view: SecretView | None) -> tuple[str, ...]:
    """What the program found out that the server can do."""
    return tuple(sorted(key.removeprefix(CAN) for key in (view.keys if view else ()) if key.startswith(CAN)))


def edition_of(record: str) -> str:
    return record.partition("/")[0]


def base_of(edition: str) -> str:
    """What asked for an edition, whichever successor of the first one that is."""
    return edition.partition("-")[0]


def wanted_editions(given: Given, known: str) -> tuple[str, ...]:
    """The edition that is published, and after it the one that is to be, where another is asked for or due."""
    text = given.claim.metadata.annotations.get(ROTATE)
    asked = (base_of(known) or FIRST) if text is None else naming.digest_of(text)
    wanted = known if base_of(known) == asked else asked
    due = given.renewed.get(known)
    if due is not None and given.now is not None and given.now >= due:
        wanted = f"{asked}-{naming.digest_of(due.isoformat())}"
    return tuple(dict.fromkeys(edition for edition in (known, wanted) if edition))


# --- withdraw ----------------------------------------------------------------------------------------------------


def withdraw(given: Given, seen: Seen, missing: Callable[[bool], Outcome | None]) -> Withdrawal:
    """Under Delete all that was made on the server goes before the claim does; under Retain nothing."""
    errand = given.errand("remove", (), {})
    return errands.withdraw(errand, seen, record=given.ref, missing=missing(False), gives=given.ref)
