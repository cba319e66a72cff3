"""Claims that begin with the data of another one: what stands in the way is told with field, reason and way out."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from laws import samples
from libresh.api.claims import Claim
from libresh.api.database import PostgreSQL
from libresh.drivers import drivers
from libresh.drivers.model import Ask, Seen
from libresh.plan.actions import Object
from libresh.plan.decision import Stalled, Waiting
from libresh.reconcilers import sources
from libresh.reconcilers.claim import ClaimReconciler
from reconcilers.world import World

IMAGES = {"images": {"17": "images.example.org/postgresql:17"}}
READY = [{"type": "Ready", "status": "True"}]
SERVED: Object = {
    "className": "databases",
    "driver": "cloudnative-pg",
    "asked": {"storage": "5Gi", "version": "17", "locale": "C", "extensions": []},
    "capabilities": ["clone", "expand", "pitr", "quota"],
    "conditions": READY,
}
AT = "2026-01-31T12:00:00Z"


def claim(name: str, spec: Object, status: Object | None = None, **metadata: Any) -> Claim:
    meta = {"name": name, "namespace": "team", "creationTimestamp": "2026-02-01T00:00:00Z", **metadata}
    return msgspec.convert({"metadata": meta, "spec": spec, "status": status or {}}, PostgreSQL)


def ask_for(driver: str, source: Object | None, **parameters: Any) -> Ask:
    found = drivers()["PostgreSQL", driver]
    wish = claim("copy", {"parameters": parameters, **({"source": source} if source else {})})
    of_class = msgspec.convert(IMAGES if driver == "cloudnative-pg" else {}, found.parameters)
    return Ask(wish, "databases", of_class, True, samples.SETTINGS)


def obstacle(found: Claim | None, driver: str = "cloudnative-pg", at: str | None = None, **parameters: Any) -> Any:
    source = {"claim": {"name": "old"}, **({"at": at} if at else {})}
    return sources.find_obstacle(drivers()["PostgreSQL", driver], ask_for(driver, source, **parameters), found)


def old(**status: Any) -> Claim:
    return claim("old", {}, SERVED | status)


def test_nothing_stands_in_the_way() -> None:
    assert obstacle(old()) is None
    assert obstacle(old(), at=AT) is None
    assert obstacle(old(), storage="6Gi") is None
    assert obstacle(old(recoveryWindow={"earliest": AT}), at=AT) is None
    assert obstacle(old(conditions=[]), at=AT) is None, "a moment can be restored whether or not the source works"
    assert obstacle(old(), at="2026-02-01T00:00:00Z") is None


CASES: dict[str, tuple[Any, type, str, str]] = {
    "a driver that cannot": (
        lambda: obstacle(old(), "embedded"),
        Stalled,
        "SourceUnfit",
        "spec.source: ServiceClass databases (driver embedded) cannot begin with the data of another claim; name a "
        "class that can clone (libresh class list), or take spec.source out",
    ),
    "no such claim": (
        lambda: obstacle(None),
        Waiting,
        "SourceMissing",
        "spec.source.claim.name: there is no PostgreSQL old in the namespace team",
    ),
    "a claim that goes": (
        lambda: obstacle(claim("old", {}, SERVED, deletionTimestamp="2026-02-01T00:00:00Z")),
        Waiting,
        "SourceMissing",
        "spec.source.claim.name: PostgreSQL old is being deleted; name another one",
    ),
    "a claim that nobody serves": (
        lambda: obstacle(claim("old", {})),
        Waiting,
        "SourceNotReady",
        "spec.source.claim.name: nobody serves PostgreSQL old yet",
    ),
    "a claim of another driver": (
        lambda: obstacle(old(driver="zalando")),
        Stalled,
        "SourceUnfit",
        "spec.source.claim.name: PostgreSQL old is served by the driver zalando, and ServiceClass databases has the "
        "driver cloudnative-pg: only the same one can copy its data; name a class with the driver zalando",
    ),
    "a claim that does not work": (
        lambda: obstacle(old(conditions=[{"type": "Ready", "status": "False"}])),
        Waiting,
        "SourceNotReady",
        "spec.source: PostgreSQL old can be copied once it is ready",
    ),
    "too little room": (
        lambda: obstacle(old(), storage="1Gi"),
        Stalled,
        "SourceUnfit",
        "spec.parameters.storage is 1Gi: a copy of PostgreSQL old needs at least 5Gi, which its source has",
    ),
    "another locale": (
        lambda: obstacle(old(), locale="fr_FR.UTF-8"),
        Stalled,
        "SourceUnfit",
        "spec.parameters.locale is fr_FR.UTF-8: a copy of PostgreSQL old needs its source's, C; set it to C",
    ),
    "another version": (
        lambda: obstacle(old(asked=SERVED["asked"] | {"version": "16"})),
        Stalled,
        "SourceUnfit",
        "spec.parameters.version is 17: a copy of PostgreSQL old needs its source's, 16; set it to 16",
    ),
    "a source without backups": (
        lambda: obstacle(old(capabilities=["clone"]), at=AT),
        Stalled,
        "SourceUnfit",
        "spec.source.at: no moment of PostgreSQL old can be restored, as its ServiceClass databases keeps no backups",
    ),
    "the future": (
        lambda: obstacle(old(), at="2026-02-01T00:00:01Z"),
        Stalled,
        "SourceUnfit",
        "spec.source.at: 2026-02-01T00:00:01Z is after this claim was made (2026-02-01T00:00:00Z)",
    ),
    "before all backups": (
        lambda: obstacle(old(recoveryWindow={"earliest": AT}), at="2026-01-31T12:59:59+01:00"),
        Stalled,
        "SourceUnfit",
        "spec.source.at: 2026-01-31T11:59:59Z is before 2026-01-31T12:00:00Z, the first moment of PostgreSQL old",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_stands_in_the_way(case: str) -> None:
    look, kind, reason, words = CASES[case]
    found = look()
    assert type(found) is kind
    assert found.reason == reason
    assert words in found.message


@pytest.mark.parametrize("driver", list(samples.all_drivers()), ids=samples.driver_id)
def test_who_cannot_copy_refuses_before_anything_is_made(driver: Any) -> None:
    ask = samples.sample_ask(driver)
    can = sources.CLONE in driver.capabilities(ask.parameters)
    assert can == hasattr(driver, "began")
    if driver.claim_kind != "PostgreSQL":
        assert ask.claim.source is None
        assert not can
        return
    ask.claim.spec = msgspec.convert({"source": {"claim": {"name": "old"}}}, type(ask.claim.spec))
    found = sources.find_obstacle(driver, ask, None)
    stop = sources.find_hindrance(driver, ask, found, Seen())
    assert stop is not None
    assert stop.reason == ("SourceMissing" if can else "SourceUnfit")


def test_a_claim_without_a_source_begins_empty() -> None:
    ask = ask_for("cloudnative-pg", None)
    assert sources.find_obstacle(drivers()["PostgreSQL", "cloudnative-pg"], ask, None) is None


async def test_a_controller_outside_is_left_only_what_it_says_it_can() -> None:
    world = World()
    cls("hosted", driver="example.org/hosted", capabilities=("quota",), to=world)
    spec = {"className": "hosted", "source": {"claim": {"name": "old"}}}
    metadata = {"name": "copy", "namespace": "team"}
    ref = world.put(
        {"apiVersion": "database.libre.sh/v1alpha1", "kind": "PostgreSQL", "metadata": metadata, "spec": spec}
    )
    reconciler: ClaimReconciler[Any] = ClaimReconciler(PostgreSQL, samples.SETTINGS)
    decision = await world.once(reconciler, ref)
    assert decision is not None
    assert decision.outcome.reason == "SourceUnfit"
    assert "ServiceClass hosted (driver example.org/hosted) cannot begin with" in decision.outcome.message
    assert decision.status == {}
    cls("hosted", driver="example.org/hosted", capabilities=("clone",), to=world)
    decision = await world.once(reconciler, ref)
    assert decision is not None
    assert decision.outcome.reason == "OutsideDriver"
    assert decision.status["driver"] == "example.org/hosted"


def cls(name: str, driver: str, capabilities: Sequence[str], to: World) -> None:
    spec = {"claimKind": "PostgreSQL", "driver": driver}
    status = {"capabilities": list(capabilities)}
    metadata = {"name": name}
    to.put(
        {
            "apiVersion": "services.libre.sh/v1alpha1",
            "kind": "ServiceClass",
            "metadata": metadata,
            "spec": spec,
            "status": status,
        }
    )


BAD = {
    "a time without a zone": {"claim": {"name": "old"}, "at": "2026-01-31T12:00:00"},
    "no time": {"claim": {"name": "old"}, "at": "yesterday"},
    "no claim": {"at": AT},
}


@pytest.mark.parametrize("case", BAD)
def test_sources_that_are_none(case: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        claim("copy", {"source": BAD[case]})
