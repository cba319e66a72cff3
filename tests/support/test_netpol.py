"""The evaluator of NetworkPolicies against cases from the API's own documentation."""

from typing import Any

import pytest

from support.netpol import Network, Peer, selects

SPACES = {"shop": {"team": "shop"}, "bank": {"team": "bank"}}
WEB = Peer("shop", {"app": "web"}, "10.0.0.1", {"http": 8080})
DATABASE = Peer("shop", {"app": "db"}, "10.0.0.2", {"sql": 5432})
TELLER = Peer("bank", {"app": "web"}, "10.0.1.1")
WORLD = Peer(address="192.0.2.7")
ON_DATABASE = {"matchLabels": {"app": "db"}}


def policy(selector: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "one", "namespace": "shop"}, "spec": {"podSelector": selector, **spec}}


def ingress(*rules: dict[str, Any]) -> list[dict[str, Any]]:
    return [policy(ON_DATABASE, policyTypes=["Ingress"], ingress=list(rules))]


def from_(*peers: dict[str, Any], ports: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    return {"from": list(peers), **({"ports": ports} if ports else {})}


PODS = {"podSelector": {}}
CASES = {
    "no policy: everybody": ([], WORLD, DATABASE, True),
    "a policy without rules: nobody": (ingress(), WEB, DATABASE, False),
    "an empty rule: everybody": (ingress({}), WORLD, DATABASE, True),
    "it concerns only the pods it selects": (ingress(), DATABASE, WEB, True),
    "it concerns only its own namespace": ([policy({}, policyTypes=["Ingress"])], WEB, TELLER, True),
    "all pods of its own namespace": (ingress(from_(PODS)), WEB, DATABASE, True),
    "and of no other": (ingress(from_(PODS)), TELLER, DATABASE, False),
    "and nobody from outside": (ingress(from_(PODS)), WORLD, DATABASE, False),
    "pods by label": (ingress(from_({"podSelector": {"matchLabels": {"app": "x"}}})), WEB, DATABASE, False),
    "all namespaces": (ingress(from_({"namespaceSelector": {}})), TELLER, DATABASE, True),
    "a namespace by label": (ingress(from_({"namespaceSelector": {"matchLabels": {"team": "bank"}}})), TELLER, DATABASE,
                             True),
    "both must hold": (ingress(from_({"namespaceSelector": {"matchLabels": {"team": "bank"}},
                                      "podSelector": {"matchLabels": {"app": "db"}}})), TELLER, DATABASE, False),
    "either of two": (ingress(from_({"podSelector": {"matchLabels": {"app": "x"}}}, PODS)), WEB, DATABASE, True),
    "rules add up": (ingress(from_({"ipBlock": {"cidr": "10.9.0.0/16"}}), from_(PODS)), WEB, DATABASE, True),
    "an address block": (ingress(from_({"ipBlock": {"cidr": "192.0.2.0/24"}})), WORLD, DATABASE, True),
    "its exception": (ingress(from_({"ipBlock": {"cidr": "192.0.2.0/24", "except": ["192.0.2.0/28"]}})), WORLD,
                      DATABASE, False),
    "a port": (ingress(from_(PODS, ports=[{"port": 5432}])), WEB, DATABASE, True),
    "another port": (ingress(from_(PODS, ports=[{"port": 5433}])), WEB, DATABASE, False),
    "a range of ports": (ingress(from_(PODS, ports=[{"port": 5000, "endPort": 6000}])), WEB, DATABASE, True),
    "a port by name": (ingress(from_(PODS, ports=[{"port": "sql"}])), WEB, DATABASE, True),
    "another protocol": (ingress(from_(PODS, ports=[{"port": 5432, "protocol": "UDP"}])), WEB, DATABASE, False),
    "any port of a protocol": (ingress(from_(PODS, ports=[{"protocol": "TCP"}])), WEB, DATABASE, True),
    "leaving is another matter": ([policy({}, policyTypes=["Egress"])], TELLER, DATABASE, True),
    "nothing may leave": ([policy({"matchLabels": {"app": "web"}}, policyTypes=["Egress"])], WEB, DATABASE, False),
    "leave to a pod": ([policy({"matchLabels": {"app": "web"}}, policyTypes=["Egress"],
                               egress=[{"to": [{"podSelector": ON_DATABASE}]}])], WEB, DATABASE, True),
    "leave to the world": ([policy({}, policyTypes=["Egress"], egress=[{"to": [{"podSelector": {}}]}])], WEB, WORLD,
                           False),
    "types that are not given: no egress": ([policy({}, ingress=[{}])], WEB, WORLD, True),
    "types that are not given: egress where it has rules": (
        [policy({}, egress=[{"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}])], WEB, WORLD, False),
    "both ends must agree": ([*ingress(from_(PODS)), policy({"matchLabels": {"app": "web"}}, policyTypes=["Egress"])],
                             WEB, DATABASE, False),
    "policies add up": ([*ingress(), *ingress(from_(PODS))], WEB, DATABASE, True),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_what_is_allowed(case: str) -> None:
    policies, source, target, expected = CASES[case]
    assert Network(policies, SPACES).allows(source, target, 5432) is expected


@pytest.mark.parametrize(
    ("operator", "values", "expected"),
    [("In", ["web"], True), ("In", ["db"], False), ("NotIn", ["db"], True), ("NotIn", ["web"], False),
     ("Exists", None, True), ("DoesNotExist", None, False)],
)  # fmt: skip
def test_expressions_of_a_selector(operator: str, values: list[str] | None, expected: bool) -> None:
    selector = {"matchExpressions": [{"key": "app", "operator": operator, **({"values": values} if values else {})}]}
    assert selects(selector, {"app": "web"}) is expected
    assert selects({"matchExpressions": [{"key": "none", "operator": "NotIn", "values": ["x"]}]}, {}) is True
