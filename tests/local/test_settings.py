"""What the daemons are told."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from libresh.local import addons, api, control, dns, keeper, network, node
from libresh.local.control import Programs
from libresh.local.spec import Cluster

CLUSTER = Cluster("test", 1, Path("/state"), nodes=3, suffix="example.org")
PROGRAMS = Programs(Path("/bin/k"), Path("/bin/n"), Path("/bin/d"), Path("/bin/c"))
GIB = 2**30


def test_two_clusters_never_listen_at_the_same_place() -> None:
    ports = [port for slot in range(4) for port in control.list_ports(replace(CLUSTER, slot=slot))]
    assert len(ports) == len(set(ports))


def test_no_secret_is_in_an_argument() -> None:
    services = control.build_config(CLUSTER, PROGRAMS).services
    assert all("secret" not in word and "password" not in word for each in services for word in each.argv)


def test_only_the_name_server_the_api_the_metrics_and_the_edge_are_within_reach_of_pods() -> None:
    reachable = {port for address, port in control.list_ports(CLUSTER) if address == str(CLUSTER.address)}
    assert reachable == {53, 80, 443, 4443, 6443}


def test_etcd_is_durable_unless_tests_ask_for_speed() -> None:
    def flags(cluster: Cluster) -> tuple[str, ...]:
        return control.build_config(cluster, PROGRAMS).services[0].argv

    assert "--unsafe-no-fsync" not in flags(CLUSTER)
    assert "--unsafe-no-fsync" in flags(replace(CLUSTER, unsafe_etcd=True))


def test_names_under_the_suffix_lead_to_the_edge() -> None:
    text = control.render_corefile(CLUSTER, ())
    assert "template IN A example.org" in text
    assert f'60 IN A {CLUSTER.address}"' in text


def test_names_outside_are_only_asked_where_somebody_answers() -> None:
    assert "forward" not in control.render_corefile(CLUSTER, ())
    assert "forward . 192.0.2.1 192.0.2.2\n" in control.render_corefile(CLUSTER, ("192.0.2.1", "192.0.2.2"))


@pytest.mark.parametrize("nodes", [1, 3, 10])
@pytest.mark.parametrize("memory", [2 * GIB, 4 * GIB, 24 * GIB])
def test_nodes_together_promise_no_more_memory_than_there_is(nodes: int, memory: int) -> None:
    promised = nodes * (memory - node.reserved_memory(nodes, memory))
    assert memory // 3 < promised < memory


def test_the_runtime_protects_itself_only_where_it_may() -> None:
    member = CLUSTER.members[0]
    unprotected = node.render_containerd(member, PROGRAMS, protect=False)
    assert "restrict_oom_score_adj = true" in unprotected
    assert "oom_score = 0" in unprotected
    assert "restrict_oom_score_adj = false" in node.render_containerd(member, PROGRAMS, protect=True)


def test_masquerading_leaves_traffic_inside_the_cluster_alone() -> None:
    rules = network.render_rules(CLUSTER)
    assert f"ip daddr != {{ {CLUSTER.bridge_range}, {CLUSTER.pod_range} }}" in rules
    # The old table goes and the new one comes in one transaction.
    assert rules.index("delete table") < rules.rindex(f"table ip {CLUSTER.mark}")


def test_a_changed_file_changes_the_stamp_of_its_reader(tmp_path: Path) -> None:
    path = tmp_path / "settings"
    config = keeper.Config(services=(keeper.Service("a", ("/bin/true",), "", reads=(str(path),)),))
    path.write_text("one")
    first = config.render()
    assert config.render() == first
    path.write_text("two")
    assert config.render() != first


def test_the_keeper_is_told_in_its_own_words() -> None:
    service = keeper.Service("a", ("/bin/true",), "/log", before_stop=("/bin/false",))
    told = json.loads(keeper.Config(services=(service,), mounts=(keeper.Mount("tmpfs", "/run"),)).render())
    assert told["services"][0]["beforeStop"] == ["/bin/false"]
    assert told["mounts"] == [{"kind": "tmpfs", "target": "/run", "source": ""}]
    assert told["logLimit"] > 0


@pytest.mark.parametrize(
    ("text", "servers"),
    [
        ("", ()),
        ("search x\nnameserver 192.0.2.1\n# nameserver 192.0.2.9\nnameserver fe80::1%eth0\n", ("192.0.2.1", "fe80::1")),
        ("nameserver 192.0.2.1\nnameserver 192.0.2.1\nnameserver\nnameserver what\n", ("192.0.2.1",)),
    ],
)
def test_name_servers_are_read(text: str, servers: tuple[str, ...]) -> None:
    assert dns.read_servers(text) == servers


def test_without_a_name_server_that_answers_there_is_no_upstream(tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    # Nobody serves names at this loopback address.
    path.write_text("nameserver 127.99.250.250\n")
    assert dns.find_upstreams(path) == ()
    assert dns.find_upstreams(tmp_path / "missing") == ()


def test_every_object_has_a_place() -> None:
    paths = [api.path_of(each) for each in addons.build_all(CLUSTER, authority=b"x")]
    assert len(paths) == len(set(paths))
    assert "/apis/apiregistration.k8s.io/v1/apiservices/v1beta1.metrics.k8s.io" in paths
    assert "/apis/discovery.k8s.io/v1/namespaces/kube-system/endpointslices/kube-dns-host" in paths
    assert "/api/v1/namespaces/kube-system/services/kube-dns" in paths
