"""Credentials that a server chooses: asked for once, published when on record, exchanged without a gap, asked anew when
somebody changed them."""

import json
from collections.abc import Mapping
from dataclasses import replace

import pytest

from laws import samples
from libresh.api.claims import Binding
from libresh.drivers import drivers
from libresh.drivers.children import Children
from libresh.drivers.errands import Errand, base_name, left_of
from libresh.drivers.given import Given, provide, withdraw
from libresh.drivers.model import Ask, Provision, Seen
from libresh.plan import naming
from libresh.plan.actions import Apply, Delete, From, Object, Ref, SecretKey, Value
from libresh.plan.decision import Outcome, Settled, Waiting
from libresh.ports import ObjectMeta, SecretView

PARTS = ("id", "key")
MISSING = Waiting("Missing", "there is no administrator")


def errand(ask: Ask, ref: Ref, task: str, editions: tuple[str, ...], files: Mapping[str, Value]) -> Errand:
    return Errand(
        ask, "any", task, "server.example.org", 443, {"editions": editions}, files, gives=ref if editions else None
    )


class World:
    """A claim, the Secret beside it, and a fake server that chooses keys; `step` is a pass and what follows from it."""

    def __init__(self, *, keep: bool = True) -> None:
        driver = drivers()["Bucket", "embedded"]
        self.ask = Ask(samples.sample_claim(driver), "sample-class", driver.parameters(), keep, samples.SETTINGS)
        names = Children(self.ask.claim, "any", "any")
        ref = names.ref("Secret", "credentials")
        connect = lambda key: {part: From(key(part)) for part in PARTS}  # noqa: E731
        self.given = Given(self.ask, names, PARTS, lambda *of: errand(self.ask, ref, *of), connect, "server")
        self.place: dict[str, str] | None = None
        self.annotations: dict[str, str] = {}
        self.jobs: dict[str, Object] = {}
        self.let_in: set[str] = set()
        self.chosen = 0
        self.ran = 0

    @property
    def view(self) -> SecretView | None:
        if self.place is None:
            return None
        meta = ObjectMeta(name=self.given.ref.name, namespace="team", uid="uid", annotations=self.annotations)
        return SecretView(meta, "Opaque", frozenset(self.place), naming.digest_of(sorted(self.place.items())))

    @property
    def seen(self) -> Seen:
        return Seen({}, {self.given.ref: self.view}, [], list(self.jobs.values()))

    def step(self) -> Provision:
        found = provide(self.given, self.seen, lambda ready: None)
        for action in found.actions:
            if isinstance(action, Delete):
                self.jobs.pop(action.ref.name, None)
            if isinstance(action, Apply) and action.object["kind"] == "Secret":
                self.place = {} if self.place is None else self.place
                self.annotations = action.object["metadata"].get("annotations", {})
            if isinstance(action, Apply) and action.object["kind"] == "Job":
                self.jobs.setdefault(action.object["metadata"]["name"], action.object)
        if isinstance(found.outcome, Settled):
            self.jobs.clear()
            self.ask.claim.status.binding = Binding("connection")
        return found

    def run(self) -> None:
        """What Jobs do that have not ended: known credentials that work are kept, others made, all others let go."""
        for job in self.jobs.values():
            if job.get("status"):
                continue
            assert self.place is not None
            self.ran += 1
            editions = wanted(job)
            works = {e: self.place[f"{e}.key"] for e in editions if self.place.get(f"{e}.key") in self.let_in}
            for edition in editions:
                if edition not in works:
                    self.chosen += 1
                    works[edition] = f"chosen-{self.chosen}"
            self.let_in = set(works.values())
            self.place = {f"{e}.{part}": key for e, key in works.items() for part in PARTS}
            job["status"] = {"conditions": [{"type": "Complete", "status": "True"}]}

    def settle(self) -> Provision:
        for _ in range(20):
            found = self.step()
            self.run()
            if isinstance(found.outcome, Settled):
                return found
        raise AssertionError(found.outcome)

    def published(self, found: Provision) -> str:
        assert found.connection is not None
        assert self.place is not None
        value = found.connection["key"]
        assert isinstance(value, From)
        return self.place[value.source.key]


def wanted(job: Object) -> tuple[str, ...]:
    (container,) = job["spec"]["template"]["spec"]["containers"]
    return tuple(json.loads(container["env"][0]["value"])["editions"])


def test_the_server_is_asked_once_and_what_it_chose_is_published_when_it_is_on_record() -> None:
    world = World()
    first = world.step()
    assert (first.connection, first.outcome.message) == (None, "A place for the credentials is being made")
    assert world.step().connection is None
    found = world.settle()
    assert world.published(found) == "chosen-1"
    assert found.connection is not None
    assert found.connection["id"] == From(SecretKey("team", "sample-any-credentials", "first.id"))
    assert world.settle() == found
    assert world.ran == 1
    assert not [action for action in found.actions if isinstance(action, Apply) and action.object["kind"] != "Secret"]


def test_the_place_is_applied_without_data_and_kept() -> None:
    found = World().step()
    (place,) = found.actions
    assert isinstance(place, Apply)
    assert "data" not in place.object
    assert "stringData" not in place.object
    assert "ownerReferences" not in place.object["metadata"]
    assert place.object["metadata"]["labels"]["libre.sh/kept-for"] == "Bucket.sample"
    assert found.kept == (Ref("Secret", "sample-any-credentials", "team"),)


def test_another_edition_is_published_before_the_one_before_it_goes() -> None:
    world = World()
    old = world.published(world.settle())
    world.ask.claim.metadata.annotations["services.libre.sh/rotate"] = "once"
    seen = []
    for _ in range(8):
        found = world.step()
        assert world.published(found) in world.let_in, "what is published works"
        assert isinstance(found.outcome, Settled) or found.outcome.ready
        seen.append(world.published(found))
        world.run()
    assert (seen[0], seen[-1]) == (old, "chosen-2")
    assert world.let_in == {"chosen-2"}
    assert world.ran == 3
    assert world.published(world.settle()) == "chosen-2"


def test_a_wish_taken_back_leaves_the_published_edition_alone() -> None:
    world = World()
    old = world.published(world.settle())
    world.ask.claim.metadata.annotations["services.libre.sh/rotate"] = "once"
    world.step()
    world.run()
    world.ask.claim.metadata.annotations.clear()
    assert world.published(world.settle()) == old
    assert world.let_in == {old}


@pytest.mark.parametrize("what", ["a value", "a part", "all"])
@pytest.mark.parametrize("when", ["settled", "before it is on record"])
def test_what_another_hand_did_to_the_credentials_is_noticed(what: str, when: str) -> None:
    world = World()
    if when == "settled":
        world.settle()
    else:
        world.step()
        world.step()
        world.run()
    assert world.place is not None
    if what == "a value":
        world.place["first.key"] = "of another hand"
    elif what == "a part":
        del world.place["first.id"]
    else:
        world.place, world.annotations = None, {}
    found = world.settle()
    assert isinstance(found.outcome, Settled)
    if what == "a value" and when != "settled":
        return  # nobody knows yet what the server chose: the first use tells
    assert world.published(found) in world.let_in


def test_a_job_that_was_lost_is_run_again_and_keeps_what_was_given() -> None:
    world = World()
    world.step()
    world.step()
    world.run()
    world.jobs.clear()
    found = world.settle()
    assert (world.published(found), world.ran, world.chosen) == ("chosen-1", 2, 1)


def test_only_an_errand_that_gives_may_speak_to_the_api() -> None:
    world = World()
    world.step()
    made = [action.object for action in world.step().actions if isinstance(action, Apply)]
    by_kind = {obj["kind"]: obj for obj in made if obj["metadata"]["namespace"] == "libresh-system"}
    beside = {obj["kind"]: obj for obj in made if obj["metadata"]["namespace"] == "team"}
    name = base_name(world.ask.claim)
    assert beside["Role"]["rules"] == [
        {"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["sample-any-credentials"], "verbs": ["patch"]}
    ]
    assert beside["RoleBinding"]["subjects"] == [
        {"kind": "ServiceAccount", "name": name, "namespace": "libresh-system"}
    ]
    assert beside["RoleBinding"]["roleRef"]["name"] == beside["Role"]["metadata"]["name"] == name
    assert by_kind["ServiceAccount"]["automountServiceAccountToken"] is False
    pod = by_kind["Job"]["spec"]["template"]["spec"]
    assert (pod["serviceAccountName"], pod["automountServiceAccountToken"]) == (name, True)
    (container,) = pod["containers"]
    assert {"name": "LIBRESH_GIVES", "value": "team/sample-any-credentials"} in container["env"]
    ports = [port["port"] for rule in by_kind["NetworkPolicy"]["spec"]["egress"] for port in rule["ports"]]
    assert ports == [53, 53, 443, 443, 6443]
    for obj in made:
        is_place = obj["kind"] == "Secret"
        assert is_place or obj["metadata"]["labels"]["libre.sh/owner-uid"] == world.ask.claim.metadata.uid


def test_an_errand_that_gives_nothing_has_no_account() -> None:
    world = World()
    plain = world.given.errand("remove", (), {})
    made = [action.object for action in plain.plan(plain.build_job()) if isinstance(action, Apply)]
    assert [obj["kind"] for obj in made] == ["NetworkPolicy", "Job"]
    pod = made[-1]["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert "serviceAccountName" not in pod


def test_under_retain_nothing_is_undone_and_under_delete_all_is() -> None:
    kept = World()
    kept.settle()
    found = withdraw(kept.given, kept.seen, lambda ready: MISSING)
    assert isinstance(found.outcome, Settled)
    assert not found.actions
    assert {ref.kind for ref in found.left} == {"RoleBinding", "Role", "ServiceAccount", "Secret", "NetworkPolicy"}
    gone = World(keep=False)
    gone.settle()
    found = withdraw(gone.given, gone.seen, lambda ready: None)
    assert isinstance(found.outcome, Waiting)
    (job,) = [a.object for a in found.actions if isinstance(a, Apply) and a.object["kind"] == "Job"]
    assert job["spec"]["template"]["spec"]["containers"][0]["args"] == ["any", "remove"]
    stopped = withdraw(gone.given, gone.seen, lambda ready: MISSING).outcome
    assert stopped.message.startswith(f"{MISSING.message}. To let the claim go")


def test_what_is_missing_is_told_before_anything_is_made() -> None:
    world = World()
    told: list[bool] = []

    def missing(ready: bool) -> Outcome:
        told.append(ready)
        return MISSING

    found = provide(world.given, world.seen, missing)
    assert (found.outcome, found.actions, told) == (MISSING, (), [False])


def test_errands_that_give_nothing_leave_no_rights() -> None:
    world = World()
    plain = replace(world.given.errand("remove", (), {}), gives=None)
    assert {ref.kind for ref in left_of(plain, world.seen)} == {"Secret", "NetworkPolicy"}
