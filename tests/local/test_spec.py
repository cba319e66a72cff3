"""Names and addresses of clusters."""

from dataclasses import replace
from ipaddress import IPv4Network
from itertools import combinations
from pathlib import Path

import pytest

from libresh.errors import LibreshError
from libresh.local import spec
from libresh.local.spec import Cluster

CLUSTER = Cluster(name="libresh", slot=0, state=Path("/state"), nodes=3)


def test_the_default_cluster_has_the_documented_ranges() -> None:
    assert spec.ranges_for(0) == (
        IPv4Network("10.99.0.0/24"),
        IPv4Network("10.244.0.0/16"),
        IPv4Network("10.96.0.0/16"),
    )


def test_no_two_slots_share_an_address() -> None:
    every = [network for slot in range(spec.SLOTS) for network in spec.ranges_for(slot)]
    assert [pair for pair in combinations(every, 2) if pair[0].overlaps(pair[1])] == []


def test_nodes_have_distinct_addresses_inside_the_ranges() -> None:
    crowd = replace(CLUSTER, nodes=spec.MOST_NODES).members
    addresses = {member.address for member in crowd}
    assert len(addresses) == spec.MOST_NODES
    assert CLUSTER.address not in addresses
    assert all(member.address in CLUSTER.bridge_range for member in crowd)
    assert all(member.pod_range.subnet_of(CLUSTER.pod_range) for member in crowd)
    assert str(crowd[2].pod_range) == "10.244.3.0/24"


@pytest.mark.parametrize("name", ["libresh", "a", "x" * 20, "test-2"])
def test_interface_names_fit_the_kernel(name: str) -> None:
    last = replace(CLUSTER, name=spec.check_name(name), nodes=spec.MOST_NODES).members[-1]
    assert len(last.link) <= 15
    assert len(last.cluster.bridge) <= 15


@pytest.mark.parametrize("name", ["", "-a", "a-", "A", "a_b", "a/b", "..", "x" * 21, "a\n"])
def test_names_that_are_refused(name: str) -> None:
    with pytest.raises(LibreshError, match="cannot name a cluster"):
        spec.check_name(name)


@pytest.mark.parametrize("suffix", ["", ".", "a..b", "a b", "-a", 'a"', "a{"])
def test_suffixes_that_are_refused(suffix: str) -> None:
    with pytest.raises(LibreshError, match="cannot end host names"):
        spec.check_suffix(suffix)


@pytest.mark.parametrize(
    ("slot", "listen", "here", "everywhere"),
    [
        (0, "", "127.0.0.1", ["127.0.0.1", "10.99.0.254"]),
        (2, "", "127.99.2.1", ["127.99.2.1", "10.99.2.254"]),
        (0, "192.0.2.7", "192.0.2.7", ["192.0.2.7", "10.99.0.254"]),
        (0, "0.0.0.0", "127.0.0.1", ["0.0.0.0"]),
    ],
)
def test_where_the_edge_listens(slot: int, listen: str, here: str, everywhere: list[str]) -> None:
    cluster = replace(CLUSTER, slot=slot, listen=spec.check_listen(listen))
    assert str(cluster.edge_address) == here
    assert [str(address) for address in cluster.edge_listens] == everywhere


def test_what_is_no_address_is_not_listened_at() -> None:
    with pytest.raises(LibreshError, match="no IPv4 address"):
        spec.check_listen("example.org")


def routes(*texts: str) -> tuple[IPv4Network, ...]:
    return tuple(IPv4Network(text) for text in texts)


def test_the_default_name_gets_the_first_slot_and_others_never_do() -> None:
    assert spec.choose_slot("libresh", frozenset(), ()) == 0
    assert all(spec.choose_slot(f"c{number}", frozenset(), ()) != 0 for number in range(200))


def test_a_slot_in_use_is_passed_over() -> None:
    first = spec.choose_slot("test", frozenset(), ())
    second = spec.choose_slot("test", frozenset({first}), ())
    assert second not in (0, first)


def test_a_route_moves_a_new_cluster_to_another_slot() -> None:
    assert spec.choose_slot("libresh", frozenset(), routes("10.244.0.0/16")) != 0


def test_the_default_route_overlaps_nothing() -> None:
    assert spec.find_overlap(0, routes("0.0.0.0/0")) is None


@pytest.mark.parametrize("route", ["10.96.4.0/24", "10.99.0.7/32", "10.0.0.0/8"])
def test_an_overlapping_route_is_found(route: str) -> None:
    found = spec.find_overlap(0, routes("192.0.2.0/24", route))
    assert found is not None
    assert str(found[1]) == route


def test_when_every_range_is_taken_the_reason_is_told() -> None:
    with pytest.raises(LibreshError, match=r"overlaps the route 10\.0\.0\.0/8") as caught:
        spec.choose_slot("test", frozenset(), routes("10.0.0.0/8"))
    assert caught.value.reference == "address-range-taken"
    assert caught.value.hint
