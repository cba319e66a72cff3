"""The words of the vocabulary that Matrix does not use, in a package made for this. Nothing else knows the package."""

from typing import Any, ClassVar

import msgspec
import pytest

from libresh.api.apps import App, AppSpec
from libresh.api.meta import Kind
from libresh.catalog.model import (
    AnyPackage,
    ConfigFiles,
    Cron,
    Instance,
    Kept,
    Metrics,
    Package,
    Parts,
    Probe,
    Process,
    Route,
    Scratch,
    UseConfig,
    UseVolume,
    Volume,
    Web,
    Worker,
)
from libresh.catalog.releases import Release, build_releases
from libresh.catalog.settings import Settings
from libresh.plan.actions import Ref
from libresh.plan.decision import Settled, Stalled, Waiting
from libresh.reconcilers.app import AppReconciler
from reconcilers.world import World


class WikiSpec(AppSpec):
    """A wiki."""

    replicas: int = 2


class Wiki(App):
    """Pages that people write together."""

    KIND: ClassVar[Kind] = Kind(group="apps.libre.sh", kind="Wiki", plural="wikis")

    spec: WikiSpec = msgspec.field(default_factory=WikiSpec)


def parts(wiki: Instance[WikiSpec]) -> Parts:
    image = wiki.image("wiki")
    probe = Probe(port="http", path="/")
    uses = (UseVolume("pages", "/pages"), UseConfig("settings", "/etc/wiki"), Scratch("tmp", "/tmp"))
    web = Process(
        image, ports={"http": 8080, "metrics": 9100}, uses=uses, startup=probe, readiness=probe, liveness=probe
    )
    return Parts(
        components=(
            Web("web", web, replicas=wiki.spec.replicas, metrics=Metrics()),
            Worker("indexer", Process(image, ("index", "--for-ever"))),
            Cron("tidy", Process(image, ("tidy",), uses=(UseVolume("pages", "/pages"),)), schedule="5 3 * * *"),
        ),
        configs=(ConfigFiles("settings", {"wiki.conf": f"host={wiki.spec.host}\n"}),),
        volumes=(Volume("pages", "5Gi"),),
        routes=(Route(wiki.spec.host or "", "web", "http"),),
    )


PACKAGE: Package[WikiSpec] = Package(
    name="wiki",
    title="Wiki",
    kind=Wiki,
    releases=build_releases(
        [
            Release(version="1.0", images={"wiki": "1.0"}),
            Release(version="2.0", images={"wiki": "2.0"}, from_=["1"]),
            Release(version="4.0", images={"wiki": "4.0"}, from_=["3"]),
        ]
    ),
    needs=lambda app, spec: (),
    parts=parts,
    kept=(Kept("PersistentVolumeClaim", "pages", "the pages themselves"),),
)
PACKAGES: list[AnyPackage] = [PACKAGE]
RECONCILER: AppReconciler[Any] = AppReconciler(PACKAGE, Settings(), PACKAGES)
WIKI = Ref("Wiki", "docs", "acme")
WEB = Ref("Deployment", "docs-web", "acme")
PAGES = Ref("PersistentVolumeClaim", "docs-pages", "acme")


def wiki(**spec: Any) -> dict[str, Any]:
    metadata = {"name": "docs", "namespace": "acme"}
    spec = {"host": "docs.example.org", "version": "1.0", **spec}
    return {"apiVersion": "apps.libre.sh/v1alpha1", "kind": "Wiki", "metadata": metadata, "spec": spec}


async def passes(world: World, count: int = 4) -> Any:
    decision = None
    for _ in range(count):
        decision = await world.once(RECONCILER, WIKI)
        world.roll_out()
    return decision.outcome if decision else None


@pytest.fixture
async def world() -> World:
    made = World()
    made.put(wiki())
    assert isinstance(await passes(made), Settled)
    return made


async def test_it_needs_nothing_and_is_up(world: World) -> None:
    assert world.objects[WIKI]["status"]["components"] == [
        {"name": "indexer", "ready": True},
        {"name": "web", "ready": True},
    ]
    assert world.objects[WIKI]["status"]["version"] == "1.0"


async def test_each_word_becomes_what_it_says(world: World) -> None:
    web = world.objects[WEB]["spec"]
    assert web["replicas"] == 2
    assert web["strategy"]["type"] == "RollingUpdate"
    assert Ref("Service", "docs-web", "acme") in world.objects
    assert Ref("Service", "docs-indexer", "acme") not in world.objects, "it answers nobody"
    cron = world.objects[Ref("CronJob", "docs-tidy", "acme")]["spec"]
    assert (cron["schedule"], cron["timeZone"], cron["concurrencyPolicy"]) == ("5 3 * * *", "Etc/UTC", "Forbid")
    assert cron["jobTemplate"]["spec"]["template"]["spec"]["restartPolicy"] == "Never"
    policies = {ref.name: obj["spec"] for ref, obj in world.objects.items() if ref.kind == "NetworkPolicy"}
    assert "Ingress" in policies["docs-tidy"]["policyTypes"]
    assert "ingress" not in policies["docs-tidy"]
    assert {"ports": [{"port": 8080, "protocol": "TCP"}]} in policies["docs-web"]["ingress"]
    assert policies["docs-web"]["egress"] == [{"ports": [{"port": 53, "protocol": p} for p in ("UDP", "TCP")]}]


async def test_scaling_waits_for_all_of_them(world: World) -> None:
    world.edit(WIKI, replicas=3)
    assert isinstance((await world.once(RECONCILER, WIKI)).outcome, Waiting)  # type: ignore[union-attr]
    assert isinstance(await passes(world), Settled)
    assert world.objects[WEB]["spec"]["replicas"] == 3


async def test_a_new_release_rolls_where_the_graph_lets_it(world: World) -> None:
    world.edit(WIKI, version="2.0")
    outcome = (await world.once(RECONCILER, WIKI)).outcome  # type: ignore[union-attr]
    assert isinstance(outcome, Waiting)
    assert world.objects[WIKI]["status"]["version"] == "1.0", "not yet"
    assert isinstance(await passes(world), Settled)
    assert world.objects[WIKI]["status"]["version"] == "2.0"


@pytest.mark.parametrize(("running", "wish"), [("2.0", "1.0"), ("1.0", "4.0")], ids=["back", "too far"])
async def test_a_release_that_cannot_follow_is_refused(running: str, wish: str) -> None:
    world = World()
    world.put(wiki(version=running))
    await passes(world)
    world.edit(WIKI, version=wish)
    outcome = (await world.once(RECONCILER, WIKI)).outcome  # type: ignore[union-attr]
    assert isinstance(outcome, Stalled)
    assert outcome.reason == "VersionUnreachable"
    assert f"spec.version: {wish} cannot follow {running}" in outcome.message
    assert world.objects[WEB]["metadata"]["labels"]["app.kubernetes.io/version"] == running


@pytest.mark.parametrize("policy", ["Retain", "Delete"])
async def test_its_volume_stays_or_goes_as_it_says(world: World, policy: str) -> None:
    assert "ownerReferences" not in world.objects[PAGES]["metadata"]
    assert world.objects[WIKI]["status"]["kept"] == ["PersistentVolumeClaim docs-pages"]
    world.edit(WIKI, deletionPolicy=policy)
    world.objects[WIKI]["metadata"]["deletionTimestamp"] = "2026-02-01T00:00:00Z"
    for _ in range(5):
        await world.once(RECONCILER, WIKI)
    assert WIKI not in world.objects
    assert (PAGES in world.objects) is (policy == "Retain")
