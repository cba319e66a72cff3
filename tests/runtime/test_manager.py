"""The whole runtime at work: informers, queue, workers, leader election, against both API servers."""

import asyncio
import base64
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import aiohttp
import pytest
from toys import Toy, ToyReconciler, box, crd, owned_by, toy

from libresh.errors import Unavailable
from libresh.kube.auth import Access, from_kubeconfig
from libresh.kube.client import Client
from libresh.kube.kinds import Kinds
from libresh.kube.views import secret_view
from libresh.plan.actions import Apply, From, Mint, Random, SecretKey
from libresh.plan.decision import Decision, Settled, Waiting
from libresh.runtime.leader import Leader
from libresh.runtime.manager import Manager
from support.apiserver import RealApi
from support.fakeapi import FakeApi, Server

PATIENCE = 20.0


@pytest.fixture(scope="module")
def real_toys(real_api: RealApi) -> RealApi:
    real_api.install(crd())
    return real_api


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.apiserver)])
async def client(request: pytest.FixtureRequest) -> AsyncIterator[Client]:
    """A client of each server in turn, with the namespace `play` for itself."""
    if request.param == "fake":
        async with Server(FakeApi(crds=[crd()])) as server, Client(Access(server.url)) as found:
            yield found
        return
    server: RealApi = request.getfixturevalue("real_toys")
    async with Client(from_kubeconfig([server.kubeconfig()])) as found:
        found.kinds.own(Toy)
        await found.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "play"}})
        yield found
        for kind in ("Toy", "ConfigMap", "Secret", "Lease"):
            for item in await found.list(kind, "play"):
                name = item["metadata"]["name"]
                if item["metadata"].get("finalizers"):
                    await found.patch(kind, name, "play", {"metadata": {"finalizers": None}})
                await found.delete(kind, name, "play")


async def until(check: Callable[[], Awaitable[Any]], patience: float = PATIENCE) -> Any:
    """Waits until `check` gives something true, and returns it."""
    async with asyncio.timeout(patience):
        while not (found := await check()):
            await asyncio.sleep(0.02)
        return found


@asynccontextmanager
async def running(client: Client, *reconcilers: ToyReconciler, **options: Any) -> AsyncIterator[Manager]:
    options = {"metrics_port": None, "leader_election": False, "namespace": "play", **options}
    manager = Manager(client, reconcilers, **options)
    task = asyncio.create_task(manager.run())
    try:
        yield manager
    finally:
        manager.stop()
        await asyncio.wait_for(task, PATIENCE)


async def ready(client: Client, name: str) -> Any:
    found = await client.get("Toy", name, "play")
    conditions = (found or {}).get("status", {}).get("conditions", [])
    return any(item["type"] == "Ready" and item["status"] == "True" for item in conditions)


def boxes(obj: Toy, seen: Any) -> Decision:
    return Decision(Settled(), {"size": obj.spec.size}, (Apply(box(obj)),))


async def test_objects_come_to_rest_change_and_heal(client: Client) -> None:
    reconciler = ToyReconciler(judge=boxes, finalizer=True)
    async with running(client, reconciler) as manager:
        await client.create(toy("early"))
        await until(lambda: ready(client, "early"))
        await client.patch("Toy", "early", "play", {"spec": {"size": 4}})

        async def grown() -> bool:
            made = await client.get("ConfigMap", "early-box", "play")
            return bool(made and made["data"]["size"] == "4")

        await until(grown)
        await client.patch("ConfigMap", "early-box", "play", {"data": {"size": "x"}})
        await until(grown)
        await client.delete("ConfigMap", "early-box", "play")
        await until(grown)
        assert manager.ready() == []
        await rest(manager)
        passes = len(reconciler.passes)
        before = requests(manager)
        await asyncio.sleep(1.0)
        assert len(reconciler.passes) == passes
        assert requests(manager) == before


def requests(manager: Manager) -> dict[tuple[str, ...], float]:
    counted = manager.metrics.requests.values
    return {labels: count for labels, count in counted.items() if labels[1] in ("PATCH", "POST", "PUT", "DELETE")}


async def rest(manager: Manager) -> None:
    """Waits until nothing has been in line or in work for a while."""
    quiet = 0
    while quiet < 15:
        busy = any(len(each.queue) or each.queue.working for each in manager.controllers.values())
        quiet = 0 if busy else quiet + 1
        await asyncio.sleep(0.02)


async def test_a_users_own_secret_is_noticed(client: Client) -> None:
    async def look(obj: Toy, reader: Any) -> Any:
        return await reader.secret("play", obj.spec.secret)

    def judge(obj: Toy, seen: Any) -> Decision:
        if seen is None:
            return Decision(Waiting("NoSecret", "There is no such Secret", timedelta(hours=1)))
        return Decision(Settled(), {"note": ",".join(sorted(seen.keys)) + seen.digest[:4]})

    async def note() -> str:
        found = await client.get("Toy", "one", "play")
        return str((found or {}).get("status", {}).get("note", ""))

    async with running(client, ToyReconciler(look=look, judge=judge)) as manager:
        await client.create(toy("one", secret="mine"))
        await until(lambda: has_condition(client, "one", "NoSecret"))
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "mine", "namespace": "play"},
            "data": {"a": "dg=="},
        }
        await client.create(secret)
        first = await until(note)
        assert first.startswith("a")
        await client.patch("Secret", "mine", "play", {"data": {"a": "dw=="}})

        async def changed() -> bool:
            return await note() != first

        await until(changed)
        assert len(manager.cluster.foreign) == 1
        await client.patch("Toy", "one", "play", {"spec": {"secret": "other"}})
        await until(lambda: has_condition(client, "one", "NoSecret"))

        async def watched() -> bool:
            return list(manager.cluster.foreign._watched) == [("Secret", "play", "other")]

        # The old one is let go at once; the new one is watched when it has been absent for a while.
        await until(watched)


async def has_condition(client: Client, name: str, reason: str) -> bool:
    found = await client.get("Toy", name, "play")
    return any(item["reason"] == reason for item in (found or {}).get("status", {}).get("conditions", []))


async def test_a_mint_waits_for_its_source(client: Client) -> None:
    def judge(obj: Toy, seen: Any) -> Decision:
        metadata = {"name": "copy", "namespace": "play", "ownerReferences": owned_by(obj)}
        values = {"copied": From(SecretKey("play", "source", "k")), "made": Random(form="hex", bytes=8)}
        return Decision(Settled(), actions=(Mint(metadata, values),))

    async with running(client, ToyReconciler(judge=judge)):
        await client.create(toy("one"))
        await until(lambda: has_condition(client, "one", "WaitingForSecret"))
        assert await client.get("Secret", "copy", "play") is None
        source = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "source", "namespace": "play"},
            "data": {"k": "dg=="},
        }
        await client.create(source)
        await until(lambda: ready(client, "one"))
        made = (await client.get("Secret", "copy", "play") or {})["data"]
        assert made["copied"] == "dg=="
        await client.patch("Secret", "source", "play", {"data": {"k": "dw=="}})

        async def followed() -> bool:
            data = (await client.get("Secret", "copy", "play") or {})["data"]
            return bool(data["copied"] == "dw==" and data["made"] == made["made"])

        await until(followed)


async def test_health_and_metrics_say_what_is(client: Client) -> None:
    async with running(client, ToyReconciler(judge=boxes), metrics_port=0, metrics_host="127.0.0.1") as manager:
        await client.create(toy("one"))
        await until(lambda: ready(client, "one"))
        assert manager.server is not None
        async with aiohttp.ClientSession(f"http://127.0.0.1:{manager.server.port}") as session:
            for path in ("/healthz", "/readyz"):
                async with session.get(path) as answer:
                    assert (answer.status, await answer.text()) == (200, "ok\n")
            async with session.get("/metrics") as answer:
                text = await answer.text()
        assert 'controller_runtime_reconcile_total{controller="Toy",result="success"}' in text
        assert 'workqueue_depth{name="Toy",controller="Toy"} 0' in text
        assert 'rest_client_requests_total{code="200",method="PATCH"}' in text
        assert 'libresh_resources{kind="Toy",ready="True"} 1' in text
        assert 'leader_election_master_status{name="libresh-operator"} 1' in text


def candidate(client: Client, name: str) -> Leader:
    return Leader(client, identity=name, namespace="play", duration=3, renew_within=2, period=0.2)


async def test_the_lease_is_handed_over_cleanly(client: Client) -> None:
    first, second = ToyReconciler(judge=boxes), ToyReconciler(judge=boxes)
    async with running(client, second, leader_election=True, leader=candidate(client, "b")) as standby:
        await until_set(standby.working)
        async with running(client, first, leader_election=True, leader=candidate(client, "a")) as other:
            await until_set(other.synced)
            await client.create(toy("one"))
            await until(lambda: ready(client, "one"))
            assert (len(second.passes) > 0, first.passes) == (True, [])
            standby.stop()
            await asyncio.wait_for(other.working.wait(), 2.0)
            assert standby.leader is not None
            assert not standby.leader.leading
            await client.patch("Toy", "one", "play", {"spec": {"size": 2}})

            async def followed() -> bool:
                found = await client.get("Toy", "one", "play")
                return bool(found and found["status"].get("size") == 2)

            await until(followed)
            lease = await client.get("Lease", "libresh-operator", "play")
            assert lease is not None
            assert lease["spec"]["holderIdentity"] == "a"
            assert lease["spec"]["leaseTransitions"] == 1


async def until_set(event: asyncio.Event) -> None:
    await asyncio.wait_for(event.wait(), PATIENCE)


async def test_a_dead_leader_is_followed_after_its_lease(client: Client) -> None:
    leader = candidate(client, "dead")
    assert await leader.attempt()
    heir = candidate(client, "heir")
    assert not await heir.attempt()
    started = asyncio.get_running_loop().time()
    await asyncio.wait_for(heir.acquire(), PATIENCE)
    assert asyncio.get_running_loop().time() - started > 2.5
    leader.leading = True
    await asyncio.wait_for(leader.keep(), PATIENCE)
    assert not leader.leading


async def test_only_one_of_many_leads(client: Client) -> None:
    candidates = [candidate(client, f"c{number}") for number in range(6)]
    for _ in range(5):
        taken = await asyncio.gather(*(each.attempt() for each in candidates))
        assert sum(taken) == 1


async def test_an_unreachable_server_ends_the_lead_in_time() -> None:
    async with Server(FakeApi()) as server, Client(Access(server.url)) as client:
        leader = candidate(client, "a")
        await leader.acquire()
        server.api.faults.refuse(503, times=1000)
        started = asyncio.get_running_loop().time()
        await asyncio.wait_for(leader.keep(), PATIENCE)
        assert asyncio.get_running_loop().time() - started < 3.0
        assert not leader.leading


@pytest.mark.parametrize("how", ["reset", "expire"])
async def test_deletions_in_a_watch_gap_are_noticed(how: str) -> None:
    api = FakeApi(crds=[crd()])
    reconciler = ToyReconciler(judge=boxes)
    async with Server(api) as server, Client(Access(server.url)) as client:
        for name in ("one", "two", "three"):
            api.create(toy(name))
        async with running(client, reconciler) as manager:
            for name in ("one", "two", "three"):
                await until(lambda name=name: ready(client, name))  # type: ignore[misc]
            await rest(manager)
            api.hold("Toy")
            api.hold("ConfigMap")
            api.delete("Toy", "two", "play")
            api.delete("ConfigMap", "three-box", "play")
            api.compact()
            api.break_watches(how="expire" if how == "expire" else "reset")
            api.release("Toy")
            api.release("ConfigMap")

            async def healed() -> bool:
                return api.get("ConfigMap", "three-box", "play") is not None

            await until(healed)

            async def forgotten() -> bool:
                return manager.cluster.caches["Toy"].get("play", "two") is None

            await until(forgotten)
            assert manager.cluster.informers["Toy"].lists == 2


async def test_a_half_open_watch_is_noticed() -> None:
    api = FakeApi(crds=[crd()], bookmark_every=3600)
    reconciler = ToyReconciler(judge=boxes)
    async with Server(api) as server, Client(Access(server.url)) as client, running(client, reconciler) as manager:
        informer = manager.cluster.informers["Toy"]
        await until_set(manager.synced)
        informer.silence = 0.5

        async def watched(times: int) -> bool:
            return api.requests["watch", "Toy"] >= times

        await until(lambda: watched(1))
        api.break_watches("Toy", how="end")
        # Nothing is said on the second watch: it must be given up, and a third one begun.
        await until(lambda: watched(3), 5.0)
        await client.create(toy("one"))
        await until(lambda: ready(client, "one"))
        assert informer.lists == 1


class Late:
    """A client whose answers come late, so that every echo of a write overtakes them."""

    def __init__(self, client: Client) -> None:
        self.send = client.send
        client.send = self  # type: ignore[assignment, method-assign]

    async def __call__(self, method: str, path: str, **options: Any) -> bytes:
        answer = await self.send(method, path, **options)
        await asyncio.sleep(0.05 if method == "PATCH" else 0)
        return answer


async def test_ones_own_echo_causes_no_pass() -> None:
    api = FakeApi(crds=[crd()])
    reconciler = ToyReconciler(finalizer=False)
    async with Server(api) as server, Client(Access(server.url)) as client, running(client, reconciler) as manager:
        await until_set(manager.working)
        Late(client)
        for number in range(20):
            api.create(toy(f"t{number}"))
        for number in range(20):
            await until(lambda number=number: ready(client, f"t{number}"))  # type: ignore[misc]
        await rest(manager)
        assert len(reconciler.passes) == 20


@pytest.mark.parametrize("echo", ["in time", "late"])
async def test_a_change_during_ones_own_write_is_not_missed(echo: str) -> None:
    api = FakeApi(crds=[crd()])
    reconciler = ToyReconciler()
    async with Server(api) as server, Client(Access(server.url)) as client, running(client, reconciler) as manager:
        await until_set(manager.working)
        api.create(toy("one"))
        await until(lambda: ready(client, "one"))
        await rest(manager)
        api.faults.slow(0.3, verb="apply", kind="Toy", times=1)
        api.edit("Toy", "one", "play", spec={"size": 2})
        await asyncio.sleep(0.1)
        if echo == "late":
            api.hold("Toy")
        api.edit("Toy", "one", "play", spec={"size": 9})

        async def followed() -> bool:
            return bool((api.get("Toy", "one", "play") or {}).get("status", {}).get("size") == 9)

        await until(followed)
        if echo == "late":
            api.release("Toy")
        await rest(manager)
        assert api.get("Toy", "one", "play")["status"]["observedGeneration"] == 3
        assert len(reconciler.passes) == 3


async def test_one_pass_at_a_time_for_an_object_many_for_many() -> None:
    running_now: dict[str, int] = {}
    most = {"one": 0, "all": 0}

    async def look(obj: Toy, reader: Any) -> Any:
        running_now[obj.name] = running_now.get(obj.name, 0) + 1
        most["one"] = max(most["one"], running_now[obj.name])
        most["all"] = max(most["all"], sum(running_now.values()))
        await asyncio.sleep(0.02)
        running_now[obj.name] -= 1

    api = FakeApi(crds=[crd()])
    async with Server(api) as server, Client(Access(server.url)) as client:
        for number in range(6):
            api.create(toy(f"t{number}"))
        async with running(client, ToyReconciler(look=look), workers=4) as manager:
            await until_set(manager.working)
            for size in range(30):
                api.edit("Toy", f"t{size % 6}", "play", spec={"size": size + 2})
                await asyncio.sleep(0.005)
            await rest(manager)
    assert most == {"one": 1, "all": 4}


class Slow:
    """A client whose requests about the lease never come through, from some moment on."""

    def __init__(self, client: Client) -> None:
        self.cut = False
        self.send = client.send
        client.send = self  # type: ignore[assignment, method-assign]

    async def __call__(self, method: str, path: str, **options: Any) -> bytes:
        if self.cut and "/leases" in path:
            await asyncio.sleep(60)
        return await self.send(method, path, **options)


async def test_a_leader_that_lost_its_lease_writes_nothing_more(client: Client) -> None:
    """The first leader is cut off from its lease only, in the middle of a pass that goes on writing."""
    written: list[tuple[str, float]] = []
    clock = asyncio.get_running_loop().time

    def writing(who: str, pause: float) -> ToyReconciler:
        async def look(obj: Toy, reader: Any) -> Any:
            await asyncio.sleep(pause)
            return clock()

        def judge(obj: Toy, seen: Any) -> Decision:
            written.append((who, clock()))
            return Decision(Waiting("Ticking", who, timedelta(milliseconds=50)), {"note": f"{who} {seen}"})

        return ToyReconciler(look=look, judge=judge)

    client.kinds.own(Toy)
    async with Client(client.access, Kinds([Toy])) as other:
        slow = Slow(other)
        await client.create(toy("one"))
        first = running(other, writing("a", 3.5), leader_election=True, leader=candidate(other, "a"))
        async with first as a:
            await until_set(a.working)
            async with running(client, writing("b", 0.1), leader_election=True, leader=candidate(client, "b")) as b:
                await until_set(b.synced)

                async def started() -> bool:
                    return bool(written)

                await until(started)
                slow.cut = True
                await until_set(b.working)
                taken = clock()
                await asyncio.sleep(2.0)
                slow.cut = False
                assert not a.working.is_set()
    assert {who for who, when in written if when > taken} == {"b"}
    assert {who for who, when in written if when < taken} == {"a"}


async def test_stopping_lets_the_pass_under_way_finish() -> None:
    finished: list[str] = []

    async def look(obj: Toy, reader: Any) -> Any:
        await asyncio.sleep(0.3)
        finished.append(obj.name)

    api = FakeApi(crds=[crd()])
    api.create(toy("one"))
    async with Server(api) as server, Client(Access(server.url)) as client:
        async with running(client, ToyReconciler(look=look)) as manager:
            await until_set(manager.working)
            await asyncio.sleep(0.1)
        assert finished == ["one"]
        assert api.get("Toy", "one", "play")["status"]["observedGeneration"] == 1


async def test_bodies_nobody_reads_are_not_kept_and_drift_is_healed_all_the_same() -> None:
    api = FakeApi(crds=[crd()])
    reconciler = ToyReconciler(judge=boxes)
    async with Server(api) as server, Client(Access(server.url)) as client, running(client, reconciler) as manager:
        api.create(toy("one"))
        await until(lambda: ready(client, "one"))
        await rest(manager)
        cache = manager.cluster.caches["ConfigMap"]
        assert [entry.body for entry in cache.entries()] == [None]
        api.edit("ConfigMap", "one-box", "play", data={"size": "x"})

        async def healed() -> bool:
            return bool((api.get("ConfigMap", "one-box", "play") or {})["data"]["size"] == "1")

        await until(healed)
        api.edit("ConfigMap", "one-box", "play", metadata={"labels": {"added": "by-somebody"}})
        await rest(manager)
        assert [entry.body for entry in cache.entries()] == [None]
        assert api.get("ConfigMap", "one-box", "play")["metadata"]["labels"]["added"] == "by-somebody"


async def test_foreign_secrets_do_not_grow_memory() -> None:
    api = FakeApi(crds=[crd()])
    secret = {"apiVersion": "v1", "kind": "Secret", "data": {"k": "dg=="}}
    for number in range(300):
        api.create({**secret, "metadata": {"name": f"s{number}", "namespace": f"n{number % 7}"}})
    reconciler = ToyReconciler(judge=boxes)
    async with Server(api) as server, Client(Access(server.url)) as client, running(client, reconciler) as manager:
        await until_set(manager.working)
        assert manager.cluster.caches["Secret"].size == 0
        assert all(write.kind != "Secret" for write in api.journal)


async def test_passes_that_wait_for_nothing_leave_others_their_turn() -> None:
    api = FakeApi(crds=[crd()])
    for number in range(400):
        api.create(toy(f"t{number}"))
    worst = 0.0

    async def watch_the_clock() -> None:
        nonlocal worst
        while True:
            before = time.monotonic()
            await asyncio.sleep(0)
            worst = max(worst, time.monotonic() - before)

    def judge(obj: Toy, seen: Any) -> Decision:
        time.sleep(0.005)
        return Decision(Settled())

    reconciler = ToyReconciler(judge=judge)
    async with Server(api) as server, Client(Access(server.url)) as client, running(client, reconciler) as manager:
        await rest(manager)
        clock = asyncio.create_task(watch_the_clock())
        for number in range(400):
            manager.controllers["Toy"].queue.add(("Toy", "play", f"t{number}"))
        await rest(manager)
        clock.cancel()
    assert worst < 1, "four hundred passes of five milliseconds took their time in one piece"


async def test_what_many_share_costs_no_pass_of_each_at_every_change() -> None:
    async def look(obj: Toy, reader: Any) -> Any:
        return await reader.secret("play", "shared")

    def judge(obj: Toy, seen: Any) -> Decision:
        return Decision(Settled(), {"note": seen.digest})

    api = FakeApi(crds=[crd()])
    labels = {"app.kubernetes.io/managed-by": "libresh"}
    metadata = {"name": "shared", "namespace": "play", "labels": labels}
    api.create({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": {"k": "dg=="}})
    for number in range(60):
        api.create(toy(f"t{number}"))
    reconciler = ToyReconciler(look=look, judge=judge)
    async with Server(api) as server, Client(Access(server.url)) as client, running(client, reconciler) as manager:

        async def current() -> bool:
            entry = manager.cluster.caches["Secret"].get("play", "shared")
            notes = {item.get("status", {}).get("note") for item in api.objects("Toy", "play")}
            return entry is not None and notes == {secret_view(entry).digest}

        await until(current)
        await rest(manager)
        before = len(reconciler.passes)
        for turn in range(40):
            api.edit("Secret", "shared", "play", data={"k": base64.b64encode(bytes([turn])).decode()})
            await asyncio.sleep(0.005)
        last = base64.b64encode(bytes([39])).decode()
        await until(current)
        assert (api.get("Secret", "shared", "play") or {})["data"]["k"] == last
        assert 60 <= len(reconciler.passes) - before <= 40 * 60 / 4


@pytest.fixture
def own_server() -> Iterator[RealApi]:
    """A real server that a test may kill."""
    with RealApi() as server:
        server.install(crd())
        yield server


@pytest.mark.apiserver
async def test_the_api_server_is_killed_and_comes_back(own_server: RealApi) -> None:
    async with Client(from_kubeconfig([own_server.kubeconfig()])) as client:
        await client.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "play"}})
        async with running(client, ToyReconciler(judge=boxes, finalizer=True), leader_election=True) as manager:
            await client.create(toy("before"))
            await until(lambda: ready(client, "before"))
            name, program = own_server.programs[-1]
            assert name == "kube-apiserver"
            program.kill()
            program.wait()
            with pytest.raises(Unavailable):
                await client.get("Toy", "before", "play")
            await asyncio.sleep(1.0)
            await asyncio.to_thread(own_server.run, "kube-apiserver", *own_server.apiserver_flags())
            own_server.programs.remove((name, program))
            await asyncio.to_thread(own_server.await_ready)
            await client.create(toy("after"))
            await client.patch("Toy", "before", "play", {"spec": {"size": 5}})
            await until(lambda: ready(client, "after"), 60.0)

            async def followed() -> bool:
                made = await client.get("ConfigMap", "before-box", "play")
                return bool(made and made["data"]["size"] == "5")

            await until(followed, 60.0)
            assert manager.alive() == []

            async def well() -> bool:
                return not manager.ready()

            await until(well, 60.0)
