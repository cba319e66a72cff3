"""Random but repeatable writes by several managers to one object."""

from random import Random
from typing import Any

from .scripts import DEPLOYMENTS, Step
from .widgets import GROUP, WIDGETS, widget

Object = dict[str, Any]
SEEN = "2026-01-01T00:00:00Z"


def some(chance: Random, values: str) -> list[str]:
    """A few of the letters, in any order."""
    return chance.sample(values, chance.randint(0, len(values) - 1))


def letters(chance: Random, values: str) -> dict[str, str]:
    return {key: chance.choice("12") for key in some(chance, values)}


def metadata(chance: Random) -> Object:
    parts = {
        "labels": lambda: letters(chance, "abc"),
        "annotations": lambda: letters(chance, "abc"),
        "finalizers": lambda: chance.sample(["libre.sh/a", "libre.sh/b"], chance.randint(0, 2)),
    }
    return {name: make() for name, make in parts.items() if chance.random() < 0.25}


def item(chance: Random, name: str) -> Object:
    made: Object = {"name": name}
    if chance.random() < 0.6:
        made["value"] = chance.choice("12")
    if chance.random() < 0.3:
        made["more"] = chance.choice("12")
    if chance.random() < 0.3:
        made["deep"] = letters(chance, "xyz")
    return made


def port(chance: Random, number: int) -> Object:
    made: Object = {"port": number}
    if chance.random() < 0.4:
        made["protocol"] = "UDP"
    if chance.random() < 0.4:
        made["title"] = chance.choice("xy")
    return made


def widget_spec(chance: Random) -> Object:
    """What one manager might say of a widget."""
    parts = {
        "host": (0.5, lambda: chance.choice("abc")),
        "size": (0.3, lambda: chance.randint(1, 4)),
        "mode": (0.3, lambda: chance.choice(["Single", "Double"])),
        "tags": (0.4, lambda: some(chance, "abcd")),
        "plain": (0.3, lambda: some(chance, "abcd")),
        "items": (0.5, lambda: [item(chance, name) for name in some(chance, "mnop")]),
        "ports": (0.3, lambda: [port(chance, number) for number in chance.sample([1, 2, 3], 2)]),
        "map": (0.4, lambda: letters(chance, "klmn")),
        "ref": (0.3, lambda: {"name": chance.choice("12")}),
        "parent": (0.3, lambda: {key: chance.choice("12") for key in chance.sample(["child", "other"], 1)}),
        "free": (0.2, lambda: chance.choice([{}, {"a": {"b": 1}}, {"a": {"c": 2}, "l": [1, {"x": 2}]}, {"z": 1}])),
        "maybe": (0.1, lambda: chance.choice([None, "x"])),
    }
    return {name: make() for name, (likely, make) in parts.items() if chance.random() < likely}


def widget_status(chance: Random) -> Object:
    types = chance.sample(["Ready", "Synced", "Stalled"], chance.randint(0, 3))
    conditions = [{"type": type, "status": chance.choice(["True", "False"])} for type in types]
    return {"phase": chance.choice("xyz"), "conditions": conditions} if chance.random() < 0.7 else {"phase": "z"}


def widget_step(chance: Random) -> Step:
    """One write to the widget `w`."""
    path, sort = f"{WIDGETS}/w", chance.random()
    if sort < 0.5:
        body = widget("w", metadata(chance), **widget_spec(chance))
        return Step("apply", path, body, chance.choice(["one", "two", "three"]), force=chance.random() < 0.5)
    if sort < 0.68:
        gone = {chance.choice(["host", "items", "map", "tags"]): None} if chance.random() < 0.4 else {}
        body = {"metadata": metadata(chance), "spec": {**widget_spec(chance), **gone}}
        return Step("merge", path, body, chance.choice(["one", "patcher"]))
    if sort < 0.83:
        body = {
            "apiVersion": f"{GROUP}/v1",
            "kind": "Widget",
            "metadata": {"name": "w"},
            "status": widget_status(chance),
        }
        return Step("apply", f"{path}/status", body, chance.choice(["one", "two"]), force=chance.random() < 0.6)
    if sort < 0.88:
        return Step("merge", f"{path}/status", {"status": widget_status(chance)}, "kubelet")
    if sort < 0.93:
        return Step("delete", path)
    return Step("create", WIDGETS, widget("w", metadata(chance), **widget_spec(chance)))


def container(chance: Random) -> Object:
    """What might be said of a container."""
    parts = {
        "env": (0.6, lambda: [{"name": name, "value": chance.choice("12")} for name in some(chance, "ABC")]),
        "ports": (0.4, lambda: [{"containerPort": number} for number in chance.sample([80, 81, 82], 2)]),
        "args": (0.3, lambda: some(chance, "abc")),
        "volumeMounts": (0.3, lambda: [{"name": "v", "mountPath": f"/{name}"} for name in some(chance, "ab")]),
        "resources": (0.3, lambda: chance.choice([{}, {"limits": {"cpu": "1"}}, {"requests": {"memory": "1Gi"}}])),
        "securityContext": (0.3, lambda: chance.choice([{"runAsUser": 0}, {"capabilities": {"drop": ["ALL"]}}])),
        "readinessProbe": (0.2, lambda: {"httpGet": {"port": 80}}),
    }
    made = {name: make() for name, (likely, make) in parts.items() if chance.random() < likely}
    return {"name": "c", "image": chance.choice(["i", "j:1"]), **made}


def deployment(spec: Object, metadata: Object) -> Object:
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "w", **metadata}, "spec": spec}


def deployment_spec(chance: Random) -> Object:
    labels = {"a": "b", **({"x": "1"} if chance.random() < 0.3 else {})}
    pod = {"containers": [container(chance)], "volumes": [{"name": "v", "emptyDir": {}}]}
    if chance.random() < 0.2:
        pod["containers"].append({"name": "d", "image": "k"})
    spec: Object = {"selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": labels}, "spec": pod}}
    if chance.random() < 0.4:
        spec["replicas"] = chance.randint(0, 3)
    if chance.random() < 0.2:
        spec["strategy"] = chance.choice([{"type": "Recreate"}, {"rollingUpdate": {"maxSurge": 1}}])
    return spec


def deployment_step(chance: Random) -> Step:
    """One write to the Deployment `w`."""
    path, sort = f"{DEPLOYMENTS}/w", chance.random()
    if sort < 0.55:
        body = deployment(deployment_spec(chance), metadata(chance))
        return Step("apply", path, body, chance.choice(["one", "two"]), force=chance.random() < 0.7)
    if sort < 0.65:
        return Step("apply", path, deployment({"replicas": chance.randint(0, 3)}, {}), "scaler", force=True)
    if sort < 0.8:
        spec = chance.choice(
            [{"replicas": 2}, {"paused": True}, {"paused": None}, {"template": {"spec": {"nodeSelector": {"a": "b"}}}}]
        )
        return Step("merge", path, {"metadata": metadata(chance), "spec": spec}, "patcher")
    if sort < 0.95:
        condition = {"type": "Available", "status": "True", "lastUpdateTime": SEEN, "lastTransitionTime": SEEN}
        body = {
            "status": {"replicas": chance.randint(1, 2), "conditions": [condition]},
            "metadata": {"labels": {"not": "taken"}},
        }
        return Step("merge", f"{path}/status", body, "controller")
    return Step("create", DEPLOYMENTS, deployment(deployment_spec(chance), metadata(chance)))


__all__ = ["deployment_step", "widget_step"]
