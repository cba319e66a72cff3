"""A real cluster, of its own name and addresses: it is used, hurt, restarted, and leaves nothing behind.

The tests share one cluster of three nodes. Each finds it running, and may be run alone; the last one ends it.
"""

import dataclasses
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from local_world import (
    IMAGE,
    ask,
    host_pid,
    https_get,
    keep_address,
    node_is,
    objects,
    probe_pods,
    running,
    traces,
    until,
)

from libresh.errors import LibreshError
from libresh.local import binaries, cgroups, cluster, control, keeper, network, pause, state, status
from libresh.local.api import API
from libresh.local.spec import Cluster

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(os.geteuid() != 0, reason="a local cluster needs root"),
]

NAME = "e2e-local"
WISH = cluster.Wish(NAME, nodes=3, unsafe_etcd=True)


@pytest.fixture(scope="module", autouse=True)
def state_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A state folder of its own, so that nobody's cluster is in reach; purged whatever happens."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("state")
        patch.setenv("LIBRESH_STATE", str(folder))
        # Sources that change under a running test would be compiled and taken over by the next `up`.
        patch.setenv("LIBRESH_SOURCES", str(shutil.copytree(binaries.sources(), folder / "sources")))
        yield folder
        if state.load(NAME):
            cluster.purge(NAME)


@pytest.fixture(scope="module")
def made(state_folder: Path) -> Cluster:
    return cluster.up(WISH)


@pytest.fixture(scope="module")
def api(made: Cluster) -> API:
    return API(made)


@pytest.fixture(scope="module")
def probes(made: Cluster, api: API, tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    """A probe on every node, a Service before them, and one probe with a volume."""
    folder = tmp_path_factory.mktemp("probe")
    environment = {**os.environ, "CGO_ENABLED": "0"}
    command = [binaries.find_go(), "build", "-o", str(folder / "probe"), "."]
    subprocess.run(command, cwd=Path(__file__).parent / "probe", env=environment, check=True)
    archive = folder / "probe.tar"
    archive.write_bytes(pause.build_archive((folder / "probe").read_bytes(), pause.own_architecture(), IMAGE))
    assert len(cluster.load(NAME, archive)) == 3
    assert cluster.load(NAME, archive) == ()
    for wanted in objects():
        api.apply(wanted)
    until(lambda: len(probe_pods(api)) == 3, "a probe on every node")
    until(lambda: keep_address(api) != "", "the probe with a volume")
    return made


@pytest.fixture(autouse=True)
def repaired(probes: Cluster, api: API) -> None:
    """What a test that failed left stopped is started for the next one."""
    if not status.observe(probes).ready:
        cluster.up(WISH)
    until(lambda: len(probe_pods(api)) == 3 and keep_address(api) != "", "every probe")


def write_word(api: API, word: str) -> None:
    """Asked until it answers: after its node came back, a pod is called Ready until its kubelet has looked again."""
    until(lambda: ask(keep_address(api), "/write", file="/data/word", text=word) == "written", "the word to be written")


def await_word(api: API, word: str) -> None:
    until(lambda: ask(keep_address(api), "/read", file="/data/word") == word, "the volume's data")


def test_every_node_runs_and_pods_reach_each_other_across_nodes(probes: Cluster, api: API) -> None:
    addresses = probe_pods(api)
    assert sorted(addresses) == ["node-1", "node-2", "node-3"]
    for asked in addresses.values():
        for other in addresses.values():
            assert ask(asked, "/get", url=f"http://{other}:8080/name") == ask(other, "/name")


def test_a_service_is_reached_by_name_and_spreads_over_nodes(probes: Cluster, api: API) -> None:
    """A pod is ready a moment before every node's proxy has heard of it; from then on all of them answer."""
    first = probe_pods(api)["node-1"]
    names = {ask(address, "/name") for address in probe_pods(api).values()}

    def answers() -> set[str]:
        return {ask(first, "/get", url="http://probe.default.svc.cluster.local/name") for _ in range(40)}

    until(lambda: answers() == names, "every pod to answer by the Service", 20)


def test_a_pod_reaches_itself_through_its_service(probes: Cluster, api: API) -> None:
    """Hairpin and bridge filtering: both are easily lost."""
    for address in probe_pods(api).values():
        own = ask(address, "/name")
        assert own in {ask(address, "/get", url="http://probe/name") for _ in range(40)}


def test_names_resolve_as_pods_expect(probes: Cluster, api: API) -> None:
    first = probe_pods(api)["node-1"]
    service = api.read("/api/v1/namespaces/default/services/probe")
    assert service is not None
    assert ask(first, "/look", host="probe") == service["spec"]["clusterIP"]
    assert ask(first, "/look", host="kubernetes.default.svc.cluster.local") == str(probes.api_service)
    assert ask(first, "/look", host="nothing.default.svc.cluster.local").startswith("500:")


def test_pods_may_not_reach_etcd(probes: Cluster, api: API) -> None:
    first = probe_pods(api)["node-1"]
    for address in (probes.address, probes.loopback):
        answer = ask(first, "/get", url=f"https://{address}:{control.ETCD_PORT}/health")
        assert "refused" in answer or "unreachable" in answer


def test_the_edge_serves_an_ingress_over_https_with_the_local_ca(probes: Cluster, api: API) -> None:
    names = {ask(address, "/name") for address in probe_pods(api).values()}
    authority = probes.folder / "ca" / "root.crt"
    until(lambda: https_get(str(probes.edge_address), "probe.localhost", authority)[0] == 200, "the edge to serve", 30)
    assert https_get(str(probes.edge_address), "probe.localhost", authority)[1] in names
    assert https_get(str(probes.edge_address), "other.localhost", authority)[0] == 404


def test_metrics_are_served(probes: Cluster, api: API) -> None:
    path = "/apis/metrics.k8s.io/v1beta1/nodes"
    until(lambda: len((api.read(path) or {"items": []})["items"]) == 3, "metrics of every node")


def test_secrets_lie_encrypted_in_etcd(probes: Cluster, api: API) -> None:
    words = {"secret": "open-sesame-in-a-secret", "config": "open-sesame-in-a-config"}
    meta = {"name": "words", "namespace": "default"}
    api.apply({"apiVersion": "v1", "kind": "Secret", "metadata": meta, "stringData": {"w": words["secret"]}})
    api.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"w": words["config"]}})
    raw = b"".join(path.read_bytes() for path in (probes.folder / "etcd").rglob("*") if path.is_file())
    assert words["config"].encode() in raw
    assert words["secret"].encode() not in raw


def test_a_second_up_restarts_nothing(probes: Cluster) -> None:
    configs = [probes.keeper_config, *(member.keeper_config for member in probes.members)]
    before = [keeper.read_state(config) for config in configs]
    cluster.up(WISH)
    assert [keeper.read_state(config) for config in configs] == before


def test_a_daemon_that_dies_is_started_again(probes: Cluster, api: API) -> None:
    for config, service in ((probes.keeper_config, "kube-scheduler"), (probes.members[0].keeper_config, "containerd")):
        killed = host_pid(config, service)
        os.kill(killed, signal.SIGKILL)
        until(lambda at=config, name=service: keeper.read_state(at)["services"][name]["restarts"] > 0, service)  # type: ignore[misc]
        until(lambda at=config, name=service: keeper.read_state(at)["services"][name]["pid"] > 0, service)  # type: ignore[misc]
        assert host_pid(config, service) != killed
    # Containers live on while their runtime is away.
    assert ask(probe_pods(api)["node-1"], "/name")


def test_a_stopped_node_comes_back_with_its_volume(probes: Cluster, api: API) -> None:
    write_word(api, "stopped")
    number = holder(api)
    assert cluster.node_stop(NAME, number)
    assert not cluster.node_stop(NAME, number)
    until(lambda: node_is(api, f"node-{number}", "Unknown"), "the node to be missed", 60)
    cluster.node_start(NAME, number)
    await_word(api, "stopped")


def test_a_node_without_power_comes_back_with_all_that_was_synced(probes: Cluster, api: API) -> None:
    write_word(api, "killed")
    number = holder(api)
    began = time.monotonic()
    assert cluster.node_kill(NAME, number)
    assert time.monotonic() - began < 5
    until(lambda: node_is(api, f"node-{number}", "Unknown"), "the node to be missed", 60)
    left = [address for name, address in probe_pods(api).items() if name != f"node-{number}"]
    living = {ask(address, "/name") for address in left}

    def only_the_living_answer() -> bool:
        return all({ask(address, "/get", url="http://probe/name") for _ in range(20)} == living for address in left)

    until(only_the_living_answer, "services to leave the dead node out", 30)
    cluster.node_start(NAME, number)
    await_word(api, "killed")


def holder(api: API) -> int:
    (pod,) = running(api, "keep")
    return int(pod["spec"]["nodeName"].removeprefix("node-"))


def test_the_death_of_the_control_plane_stops_no_pod_and_up_brings_it_back(probes: Cluster, api: API) -> None:
    first = probe_pods(api)["node-1"]
    assert keeper.kill(probes.keeper_config)
    assert not api.is_ready()
    assert ask(first, "/name")
    assert not status.observe(probes).ready
    cluster.up(WISH)
    assert status.observe(probes).ready
    assert probe_pods(api)["node-1"] == first


def test_a_reboot_is_recovered_from(probes: Cluster, api: API) -> None:
    """All processes, namespaces, cgroups, links and block devices gone, and the state files as they were."""
    write_word(api, "rebooted")
    for member in probes.members:
        keeper.kill(member.keeper_config)
        cluster.clear_node(member)
    keeper.kill(probes.keeper_config)
    cluster.detach_volumes(probes)
    cgroups.remove(probes.cgroup)
    network.remove_all(probes)
    assert traces(probes) == []
    cluster.up(WISH)
    await_word(api, "rebooted")
    until(lambda: len(probe_pods(api)) == 3, "every probe")


@pytest.mark.parametrize("seed", range(3))
def test_an_up_killed_at_any_instant_is_continued_by_the_next(probes: Cluster, api: API, seed: int) -> None:
    write_word(api, f"kill {seed}")
    cluster.down(NAME)
    delay = random.Random(seed).uniform(0.3, 6)
    command = [sys.executable, "-m", "libresh.local", "up", "--name", NAME]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(delay)
    process.kill()
    process.wait()
    cluster.up(WISH)
    assert status.observe(probes).ready, f"killed after {delay:.2f} s"
    until(lambda: len(probe_pods(api)) == 3, f"every probe after a kill at {delay:.2f} s")
    await_word(api, f"kill {seed}")


def test_wishes_that_are_refused(probes: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(LibreshError, match="has 3 nodes"):
        cluster.up(cluster.Wish(NAME, nodes=1))
    with pytest.raises(LibreshError, match="no cluster 'absent'"):
        cluster.down("absent")
    with pytest.raises(LibreshError, match="has 3 nodes"):
        cluster.node_stop(NAME, 4)
    with state.locked(NAME), pytest.raises(LibreshError, match="another command is at work"):
        cluster.down(NAME)


def test_a_range_that_somebody_else_routes_is_refused(probes: Cluster) -> None:
    inside = probes.pod_range[200 * 256]
    network.run("ip", "link", "add", "e2e-local-vpn", "type", "bridge")
    try:
        network.run("ip", "addr", "add", f"{inside}/24", "dev", "e2e-local-vpn")
        network.run("ip", "link", "set", "e2e-local-vpn", "up")
        with pytest.raises(LibreshError, match=f"range {probes.pod_range} overlaps") as caught:
            cluster.up(WISH)
        assert caught.value.reference == "address-range-taken"
    finally:
        network.run("ip", "link", "del", "e2e-local-vpn")
    cluster.up(WISH)


def test_a_taken_port_is_refused_by_name(probes: Cluster) -> None:
    cluster.down(NAME)
    own_name = Path("/proc/self/comm").read_text().strip()
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind((str(probes.loopback), control.ETCD_PORT))
        other.listen()
        with pytest.raises(LibreshError, match=f"{probes.loopback}:{control.ETCD_PORT} .by {own_name}") as caught:
            cluster.up(WISH)
    assert caught.value.reference == "ports-taken"
    cluster.up(WISH)


def test_a_daemon_that_cannot_run_is_named_with_its_log(probes: Cluster) -> None:
    cluster.down(NAME)
    data = probes.folder / "etcd"
    data.rename(probes.folder / "aside")
    data.write_text("no folder")
    try:
        began = time.monotonic()
        with pytest.raises(LibreshError, match="etcd ended 4 times") as caught:
            cluster.up(WISH)
        assert time.monotonic() - began < cluster.API_PATIENCE / 2
        assert str(probes.logs / "etcd.log") in caught.value.hint
        assert "not a directory" in (probes.logs / "etcd.log").read_text()
    finally:
        cluster.down(NAME)
        data.unlink()
        (probes.folder / "aside").rename(data)


def test_the_edge_moves_to_another_address_without_touching_anything_else(probes: Cluster) -> None:
    def restarts() -> dict[str, int]:
        return {name: each["pid"] for name, each in keeper.read_state(probes.keeper_config)["services"].items()}

    before = restarts()
    authority = probes.folder / "ca" / "root.crt"
    moved = cluster.up(dataclasses.replace(WISH, listen="127.0.0.77"))
    # It answers at once; a probe may still be on its way back from the test before.
    assert https_get("127.0.0.77", "probe.localhost", authority)[0] in (200, 404, 503)
    until(lambda: https_get("127.0.0.77", "probe.localhost", authority)[0] == 200, "the moved edge to serve")
    with pytest.raises(ConnectionRefusedError):
        https_get(str(probes.edge_address), "probe.localhost", authority)
    assert cluster.up(WISH) == moved
    cluster.up(dataclasses.replace(WISH, listen=""))
    until(lambda: https_get(str(probes.edge_address), "probe.localhost", authority)[0] == 200, "the edge to be back")
    assert {name for name, pid in restarts().items() if pid != before[name]} == {"cluster"}


def test_the_command_line(probes: Cluster) -> None:
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "libresh.local", *words, "--name", NAME]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    told = run("status", "-o", "json")
    assert told.returncode == 0, told.stderr
    assert json.loads(told.stdout)["ready"] is True
    assert run("kubeconfig").stdout.strip() == str(probes.kubeconfig)
    assert run("node", "kill", "3").stdout.strip() == "killed"
    assert run("node", "kill", "3").stdout.strip() == "was not running"
    told = run("status")
    assert told.returncode == 1
    assert "node-3" in told.stdout
    assert "stopped" in told.stdout
    assert run("node", "start", "3").returncode == 0
    told = run("node", "start", "9")
    assert told.returncode == 1
    assert "way out:" in told.stderr
    assert "Traceback" not in told.stderr


def test_down_leaves_nothing_and_keeps_the_data_and_purge_keeps_nothing(probes: Cluster, api: API) -> None:
    write_word(api, "last")
    assert traces(probes) != []
    cluster.down(NAME)
    assert traces(probes) == []
    assert (probes.folder / "etcd").is_dir()
    cluster.up(WISH)
    await_word(api, "last")
    cluster.purge(NAME)
    assert traces(probes) == []
    assert not probes.folder.exists()
    assert state.load(NAME) is None
