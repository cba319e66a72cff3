"""Whether an object is as wished: cases, and the law that what a server adds never counts as drift."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libresh.kube.compare import difference

SAME: dict[str, tuple[Any, Any]] = {
    "the server adds fields": ({"a": 1}, {"a": 1, "b": 2}),
    "a number may be text": ({"port": 80}, {"port": "80"}),
    "quantities of limits mean the same": ({"limits": {"cpu": "1000m"}}, {"limits": {"cpu": "1"}}),
    "binary quantities mean the same": ({"requests": {"storage": "1024Mi"}}, {"requests": {"storage": "1Gi"}}),
    "false is left out": ({"hostNetwork": False}, {}),
    "an empty map is left out": ({"emptyDir": {}, "x": []}, {}),
    "null is no wish": ({"a": None}, {}),
    "an empty map is there with defaults": ({"securityContext": {}}, {"securityContext": {"a": 1}}),
    "containers are found by name": (
        {"containers": [{"name": "b", "image": "i"}]},
        {"containers": [{"name": "a"}, {"name": "b", "image": "i", "imagePullPolicy": "Always"}]},
    ),
    "ports are found by number and protocol": (
        {"ports": [{"port": 53, "protocol": "UDP"}]},
        {"ports": [{"port": 53, "protocol": "TCP"}, {"port": 53, "protocol": "UDP", "targetPort": 53}]},
    ),
    "a port is TCP": ({"ports": [{"containerPort": 80}]}, {"ports": [{"containerPort": 80, "protocol": "TCP"}]}),
    "finalisers are a set": ({"finalizers": ["x"]}, {"finalizers": ["y", "x"]}),
}

DIFFERENT: dict[str, tuple[Any, Any, str]] = {
    "another value": ({"a": {"b": 1}}, {"a": {"b": 2}}, "a.b"),
    "a missing field": ({"a": 1}, {}, "a"),
    "true and one are not the same": ({"a": True}, {"a": 1}, "a"),
    "text that looks like a quantity is text elsewhere": ({"env": "1000m"}, {"env": "1"}, "env"),
    "an argument more": ({"args": ["a"]}, {"args": ["a", "b"]}, "args"),
    "arguments in another order": ({"args": ["a", "b"]}, {"args": ["b", "a"]}, "args[0]"),
    "a rule more opens a door": ({"ingress": [{"from": 1}]}, {"ingress": [{"from": 1}, {}]}, "ingress"),
    "a subject more has rights": (
        {"subjects": [{"kind": "User", "name": "a"}]},
        {"subjects": [{"kind": "User", "name": "a"}, {"kind": "User", "name": "b"}]},
        "subjects",
    ),
    "a missing container": ({"containers": [{"name": "a"}]}, {"containers": [{"name": "b"}]}, "containers[a]"),
    "an image": (
        {"containers": [{"name": "a", "image": "x"}]},
        {"containers": [{"name": "a", "image": "y"}]},
        "containers[a].image",
    ),
    "a value where none is wished": ({"a": ""}, {"a": "x"}, "a"),
    "a map that is not there": ({"a": {"b": 1}}, {}, "a"),
}


@pytest.mark.parametrize("name", SAME)
def test_is_as_wished(name: str) -> None:
    wish, live = SAME[name]
    assert difference(wish, live) is None


@pytest.mark.parametrize("name", DIFFERENT)
def test_differs(name: str) -> None:
    wish, live, path = DIFFERENT[name]
    found = difference(wish, live)
    assert found is not None
    assert found[0] == path


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-5, 5), st.text("ab1", max_size=3)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(["a", "b", "limits", "env"]), inner, max_size=3)
    ),
    max_leaves=12,
)
MAPS = st.dictionaries(st.sampled_from(["a", "b", "spec", "limits"]), JSON, max_size=4)


def grown(value: Any) -> Any:
    """The value as a server would return it: nulls dropped, a default added to every map."""
    if isinstance(value, dict):
        return {**{key: grown(item) for key, item in value.items() if item is not None}, "added": "by the server"}
    if isinstance(value, list):
        return [grown(item) for item in value]
    return value


@given(MAPS)
def test_what_the_server_adds_is_no_drift(wish: dict[str, Any]) -> None:
    assert difference(wish, grown(wish)) is None


@given(MAPS, st.sampled_from(["x", 99, ["x"]]))
def test_a_changed_field_is_drift(wish: dict[str, Any], other: Any) -> None:
    live = grown(wish)
    for key in wish:
        assert difference(wish, {**live, key: other}) is not None or wish[key] in (None, other)
