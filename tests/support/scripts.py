"""Scripts of requests whose answers must be the same from the fake and from the real API server."""

from dataclasses import dataclass
from typing import Any

from .door import APPLY, Door, Reply
from .widgets import GLOBES, GROUP, PLAINS, WIDGETS, config, widget

Object = dict[str, Any]
CORE = "/api/v1/namespaces/{ns}"
CONFIGS, SECRETS, SERVICES = f"{CORE}/configmaps", f"{CORE}/secrets", f"{CORE}/services"
CLAIMS = f"{CORE}/persistentvolumeclaims"
DEPLOYMENTS = "/apis/apps/v1/namespaces/{ns}/deployments"
SETS = "/apis/apps/v1/namespaces/{ns}/statefulsets"
JOBS = "/apis/batch/v1/namespaces/{ns}/jobs"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/{ns}/leases"
PARTIAL = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
PARTIAL_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
NOBODY = "00000000-0000-4000-8000-000000000000"


@dataclass(frozen=True)
class Step:
    """One request. `loose`: the servers refuse alike, in other words."""

    verb: str
    path: str
    body: Any = None
    manager: str = ""
    force: bool = False
    accept: str = ""
    loose: bool = False

    async def take(self, door: Door) -> Reply:
        """Sends the request."""
        if self.verb == "apply":
            return await door.apply(self.path, self.body, self.manager or "one", self.force)
        if self.verb in ("create", "put", "merge", "json_patch"):
            more = (self.manager,) if self.manager and self.verb == "merge" else ()
            reply: Reply = await getattr(door, self.verb)(self.path, self.body, *more)
            return reply
        if self.verb == "delete":
            return await door.delete(self.path, **(self.body or {}))
        content = APPLY if self.verb == "PATCH" else ""
        return await door.ask(self.verb, self.path, self.body, accept=self.accept, content=content)


def get(path: str, accept: str = "", *, loose: bool = False) -> Step:
    return Step("GET", path, accept=accept, loose=loose)


def create(path: str, body: Any, *, loose: bool = False) -> Step:
    return Step("create", path, body, loose=loose)


def merge(path: str, body: Any, *, loose: bool = False) -> Step:
    return Step("merge", path, body, loose=loose)


def apply(path: str, body: Any, manager: str = "one", *, force: bool = False, loose: bool = False) -> Step:
    return Step("apply", path, body, manager, force, loose=loose)


def delete(path: str, **options: Any) -> Step:
    return Step("delete", path, options)


def pods(**container: Any) -> Object:
    return {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i", **container}]}}


def deployment(labels: Object | None = None, **spec: Any) -> Object:
    whole = {
        "selector": {"matchLabels": {"a": "b"}},
        "template": pods(
            ports=[{"containerPort": 80, "name": "http"}],
            env=[{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
        ),
        **spec,
    }
    metadata = {"name": "d", **({"labels": labels} if labels else {})}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": whole}


def scaled(replicas: int) -> Object:
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": {"replicas": replicas}}


def service(name: str = "s", **spec: Any) -> Object:
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


def widget_status(**status: Any) -> Object:
    return {"apiVersion": f"{GROUP}/v1", "kind": "Widget", "metadata": {"name": "w"}, "status": status}


W, C = f"{WIDGETS}/w", f"{CONFIGS}/a"
RICH: Object = {
    "host": "a",
    "items": [{"name": "x", "value": "1"}, {"name": "y", "value": "2"}],
    "tags": ["a", "b"],
    "map": {"k": "v", "l": "m"},
    "parent": {"child": "c", "other": "o"},
    "ref": {"name": "n", "key": "k"},
    "free": {"a": {"b": 1}, "l": [1, 2]},
    "ports": [{"port": 80}, {"port": 80, "protocol": "UDP"}],
    "plain": ["x"],
}

WRITES: dict[str, list[Step]] = {
    "a built-in object is written in every way": [
        create(CONFIGS, config("a", x="1")),
        create(CONFIGS, config("a", x="1")),
        get(C),
        get(f"{CONFIGS}/none"),
        Step("put", C, config("a", x="2")),
        Step("put", f"{CONFIGS}/b", config("b")),
        Step("put", C, config("b")),
        merge(C, {"data": {"y": "3", "x": None}}),
        merge(f"{CONFIGS}/none", {"data": {}}),
        Step(
            "json_patch",
            C,
            [{"op": "test", "path": "/data/y", "value": "3"}, {"op": "add", "path": "/data/z", "value": "q"}],
        ),
        Step("json_patch", C, [{"op": "test", "path": "/data/y", "value": "4"}]),
        Step("json_patch", C, [{"op": "remove", "path": "/data/none"}]),
        delete(C),
        delete(C),
        get(CONFIGS),
    ],
    "a custom object is written in every way": [
        create(WIDGETS, widget(host="a.b", parent={"child": "x"}, status={"phase": "P"})),
        get(W),
        Step("put", W, widget(host="c")),
        merge(W, {"spec": {"size": 4}}),
        merge(W, {"spec": {"size": 4}}),
        merge(W, {"status": {"phase": "Q"}}),
        get(f"{W}/status"),
        merge(f"{W}/status", {"status": {"phase": "R"}, "spec": {"size": 7}, "metadata": {"labels": {"l": "1"}}}),
        merge(W, {"metadata": {"labels": {"l": "2"}, "annotations": {"a": "b"}}}),
        delete(W),
        get(WIDGETS),
    ],
    "a kind without a status door has its status in the open": [
        create(PLAINS, widget("p", kind="Plain", host="a", status={"phase": "x"})),
        merge(f"{PLAINS}/p", {"status": {"phase": "y"}}),
        get(f"{PLAINS}/p/status"),
        merge(f"{PLAINS}/p", {"metadata": {"labels": {"a": "b"}}}),
        Step("put", f"{PLAINS}/p", widget("p", kind="Plain", host="a")),
    ],
    "a secret takes plain text and keeps its type": [
        create(SECRETS, {"metadata": {"name": "s"}, "stringData": {"a": "b"}}),
        merge(f"{SECRETS}/s", {"type": "other"}),
        get(f"{SECRETS}/s"),
    ],
    "what is immutable stays": [
        create(CONFIGS, {**config("a", x="1"), "immutable": True}),
        merge(C, {"data": {"x": "2"}}),
        merge(C, {"immutable": False}),
        merge(C, {"metadata": {"labels": {"x": "y"}}}),
    ],
    "a lease is not replaced blindly": [
        create(LEASES, {"metadata": {"name": "l"}, "spec": {"holderIdentity": "a", "leaseDurationSeconds": 15}}),
        Step("put", f"{LEASES}/l", {"metadata": {"name": "l"}, "spec": {"holderIdentity": "b"}}),
        Step("put", f"{LEASES}/m", {"metadata": {"name": "m"}, "spec": {"holderIdentity": "b"}}),
        Step("put", f"{LEASES}/l", {"metadata": {"name": "l", "resourceVersion": "1"}, "spec": {}}),
    ],
    "finalisers come and go": [
        create(WIDGETS, widget("w", {"finalizers": ["libre.sh/x"]})),
        delete(W),
        delete(W),
        create(WIDGETS, widget("w")),
        merge(W, {"metadata": {"finalizers": ["libre.sh/x", "libre.sh/y"]}}),
        merge(W, {"spec": {"size": 5}}),
        merge(W, {"metadata": {"finalizers": None}}),
        get(W),
        create(WIDGETS, widget("bad", {"finalizers": ["nodomain"]})),
    ],
    "deleting has preconditions": [
        create(CONFIGS, config("a")),
        delete(C, preconditions={"uid": NOBODY}),
        Step("delete", C, {"preconditions": {"resourceVersion": "1"}}, loose=True),
        Step("DELETE", f"{C}?propagationPolicy=Background"),
        create(WIDGETS, widget()),
        delete(W, preconditions={"uid": NOBODY}),
        delete(W, propagationPolicy="Nonsense"),
        delete(W, propagationPolicy="Foreground"),
    ],
    "a dry run says what would be": [
        Step("POST", f"{CONFIGS}?dryRun=All", config("a")),
        get(C),
        create(CONFIGS, config("a")),
        Step("DELETE", f"{C}?dryRun=All"),
        get(C),
        Step("PATCH", f"{C}?dryRun=All&fieldManager=q&force=true", config("a", x="1")),
        get(C),
    ],
    "a job makes its own selector": [
        create(
            JOBS,
            {
                "metadata": {"name": "j"},
                "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}},
            },
        ),
        merge(f"{JOBS}/j", {"spec": {"template": {"metadata": {"labels": {"q": "r"}}}}}, loose=True),
        merge(f"{JOBS}/j", {"spec": {"backoffLimit": 2}}),
        merge(f"{JOBS}/j/status", {"status": {"active": 1}}),
        get(JOBS),
    ],
    "members and claims keep what they are": [
        apply(
            f"{SETS}/s",
            {
                "apiVersion": "apps/v1",
                "kind": "StatefulSet",
                "metadata": {"name": "s"},
                "spec": {"serviceName": "s", "selector": {"matchLabels": {"a": "b"}}, "template": pods()},
            },
        ),
        merge(f"{SETS}/s", {"spec": {"serviceName": "t"}}),
        merge(f"{SETS}/s", {"spec": {"replicas": 2}}),
        apply(
            f"{CLAIMS}/p",
            {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "metadata": {"name": "p"},
                "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
            },
        ),
        merge(f"{CLAIMS}/p", {"spec": {"resources": {"requests": {"storage": "2Gi"}}}}, loose=True),
        merge(f"{CLAIMS}/p", {"spec": {"accessModes": ["ReadWriteMany"]}}, loose=True),
        merge(f"{CLAIMS}/p/status", {"status": {"phase": "Bound", "capacity": {"storage": "1Gi"}}}),
        merge(f"{CLAIMS}/p", {"spec": {"volumeName": "x"}}),
        merge(f"{CLAIMS}/p", {"spec": {"resources": {"requests": {"storage": "2Gi"}}}}),
        delete(f"{CLAIMS}/p"),
    ],
    "services keep their address": [
        apply(f"{SERVICES}/s", service(selector={"a": "b"}, ports=[{"port": 80}])),
        apply(f"{SERVICES}/s", service(selector={"a": "c"}, ports=[{"port": 80}, {"port": 443, "name": "x"}])),
        apply(f"{SERVICES}/s", service(ports=[{"port": 80, "name": "y"}, {"port": 443, "name": "x"}])),
        Step("put", f"{SERVICES}/s", {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 81}]}}),
        apply(f"{SERVICES}/h", service("h", clusterIP="None", selector={"a": "b"}, ports=[{"port": 80}])),
        delete(f"{SERVICES}/s"),
    ],
}

APPLIES: dict[str, list[Step]] = {
    "appliers share, take over and let go": [
        apply(W, widget(**RICH)),
        apply(W, widget(**RICH)),
        apply(W, widget(host="b"), "two"),
        apply(W, widget(host="b", mode="Single", items=[{"name": "x", "value": "9"}]), "two"),
        apply(
            W, widget(host="b", items=[{"name": "z"}, {"name": "x", "value": "8"}], tags=["c", "a"]), "two", force=True
        ),
        apply(W, widget(items=[{"name": "y"}], tags=["b"])),
        apply(W, widget()),
        apply(W, widget(), "two"),
        get(W),
        merge(W, {"spec": {"host": "q", "items": [{"name": "u", "value": "p"}], "map": {"z": "1"}}}),
        apply(W, widget(host="h")),
        apply(W, widget(host="h", map={"z": "2"}), force=True),
        apply(W, widget()),
        apply(W, {"apiVersion": f"{GROUP}/v1", "kind": "Widget", "metadata": {"name": "w"}}),
    ],
    "status is applied through its own door": [
        apply(W, widget(host="a", status={"phase": "never"})),
        apply(
            f"{W}/status", widget(status={"phase": "x", "conditions": [{"type": "Ready", "status": "True"}]}, host="no")
        ),
        apply(
            f"{W}/status",
            widget(
                "w",
                {"labels": {"a": "b"}},
                status={"conditions": [{"type": "Ready", "status": "False", "reason": "r"}]},
            ),
        ),
        apply(f"{W}/status", widget_status(conditions=[{"type": "Synced", "status": "True"}]), "two"),
        apply(f"{W}/status", widget_status(conditions=[{"type": "Ready", "status": "True"}]), "two"),
        apply(f"{W}/status", widget_status()),
        get(W),
        apply(W, widget(host="b")),
        merge(f"{W}/status", {"status": {"phase": "m"}}),
        apply(f"{WIDGETS}/none/status", widget("none")),
        get(W),
    ],
    "an empty list that was not empty is refused where another has a share": [
        apply(f"{W}/status", widget_status()),
        apply(W, widget(host="a")),
        apply(f"{W}/status", widget_status(conditions=[{"type": "Ready", "status": "True"}])),
        apply(f"{W}/status", widget_status(conditions=[]), loose=True),
        get(W),
    ],
    "the bodies of an apply are checked": [
        Step("PATCH", W, widget()),
        Step("PATCH", f"{W}?fieldManager=x", widget()),
        apply(f"{WIDGETS}/v", widget("w")),
        apply(W, {"spec": {}}),
        apply(W, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "w"}}),
        apply(W, widget("w", {"managedFields": []})),
        apply(W, widget("w", {"uid": NOBODY})),
        apply(W, widget("w", {"namespace": "other"})),
        apply(W, widget("w", items=[{"value": "n"}])),
        apply(W, widget("w", items=[{"name": "n"}, {"name": "n"}])),
        apply(W, widget("w", unknown=1)),
        apply(f"{WIDGETS}/v", widget("v", {"resourceVersion": "1"})),
        apply(W, widget("w", {"resourceVersion": "1"}, host="z")),
        apply(C, {**config("a"), "bad": 1}),
        apply(C, {**config("a"), "data": {"x": 1}}),
        apply(f"{WIDGETS}/u", widget("u", {"uid": NOBODY})),
        Step("PATCH", f"{C}?fieldManager=x", b"{{{", loose=True),
    ],
    "a scaler takes the replicas of a deployment": [
        apply(f"{DEPLOYMENTS}/d", deployment()),
        apply(f"{DEPLOYMENTS}/d", deployment()),
        apply(f"{DEPLOYMENTS}/d", deployment({"x": "1"})),
        apply(f"{DEPLOYMENTS}/d", deployment({"x": "1"}, replicas=3)),
        apply(f"{DEPLOYMENTS}/d", scaled(4), "hpa"),
        apply(f"{DEPLOYMENTS}/d", scaled(4), "hpa", force=True),
        apply(f"{DEPLOYMENTS}/d", deployment({"x": "1"})),
        merge(f"{DEPLOYMENTS}/d/status", {"status": {"readyReplicas": 1, "replicas": 1}}),
        merge(f"{DEPLOYMENTS}/d", {"metadata": {"annotations": {"a": "b"}}}),
        delete(f"{DEPLOYMENTS}/d"),
    ],
    "a rolling deployment cannot simply become a recreated one": [
        apply(f"{DEPLOYMENTS}/d", deployment()),
        apply(f"{DEPLOYMENTS}/d", deployment(strategy={"type": "Recreate"})),
        merge(f"{DEPLOYMENTS}/d", {"spec": {"strategy": {"type": "Recreate", "rollingUpdate": None}}}),
        apply(f"{DEPLOYMENTS}/d", deployment(strategy={"type": "Recreate"})),
    ],
    "a deployment is checked": [
        create(DEPLOYMENTS, {"metadata": {"name": "e"}, "spec": {}}),
        create(DEPLOYMENTS, {"metadata": {"name": "e"}}),
        apply(f"{DEPLOYMENTS}/d", deployment()),
        merge(f"{DEPLOYMENTS}/d", {"spec": {"selector": {"matchLabels": {"a": "c"}}}}),
        apply(
            f"{DEPLOYMENTS}/f",
            {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "f"}, "spec": {"nope": 1}},
        ),
    ],
    "empty parts of metadata": [
        apply(W, widget("w", {"labels": {"a": "1"}, "annotations": {"a": "1"}, "finalizers": ["libre.sh/a"]})),
        apply(W, widget("w", {"labels": {}, "annotations": {}, "finalizers": []})),
        get(W),
        merge(W, {"metadata": {"labels": {}}}),
        get(W),
        apply(C, config("a", {"labels": {}, "annotations": {}})),
        apply(C, config("a", {"labels": {}})),
        get(C),
    ],
}

REFUSALS: dict[str, list[Step]] = {
    "bad built-in objects": [
        create(CONFIGS, config("A_b")),
        create(CONFIGS, config("")),
        create(CONFIGS, config("a", {"labels": {"x": "-bad-"}})),
        create(CONFIGS, config("a", {"labels": {"x": 1}})),
        create(CONFIGS, {**config("a"), "data": {"x": 1}}, loose=True),
        create(CONFIGS, {**config("a"), "kind": "Secret"}, loose=True),
        create(CONFIGS, config("a", {"namespace": "other"})),
        create(CONFIGS, config("a", {"resourceVersion": "5"})),
        create(CONFIGS, {**config("a"), "wrong": 1}),
        Step("POST", f"{CONFIGS}?fieldValidation=Strict", {**config("c"), "wrong": 1}),
        merge(C, {"metadata": {"resourceVersion": "1"}, "data": {"l": "1"}}),
        Step("put", C, config("a", {"uid": NOBODY})),
        create(CONFIGS, {"metadata": {"name": "bare"}}),
        create(CONFIGS, b"not json {", loose=True),
    ],
    "bad custom objects": [
        *(
            create(WIDGETS, widget(**spec))
            for spec in (
                {"size": 0},
                {"size": "x"},
                {"mode": "Triple"},
                {"host": "UPPER"},
                {"host": "a" * 30},
                {"plain": list("abcd")},
                {"tags": ["a", "a"]},
                {"items": [{"name": "a"}, {"name": "a"}]},
                {"items": [{"value": "a"}]},
                {"port": True},
                {"on": "yes"},
                {"unknown": 1},
                {"size": 0, "mode": "T"},
            )
        ),
        Step("POST", f"{WIDGETS}?fieldValidation=Strict", widget("v", unknown=1, parent={"q": 1})),
        create(WIDGETS, widget("a", maybe=None, host=None)),
        create(WIDGETS, widget("b", size=None, parent={})),
        create(WIDGETS, {**widget("c"), "spec": "x"}),
        create(WIDGETS, {**widget("d"), "spec": None}),
    ],
    "owners must be named": [
        create(CONFIGS, config("a", {"ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "x"}]})),
        create(
            CONFIGS,
            config(
                "a",
                {
                    "ownerReferences": [
                        {"apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": name, "controller": True}
                        for name in "xy"
                    ]
                },
            ),
            loose=True,
        ),
    ],
    "what is not served": [
        get("/apis/nope/v1/things"),
        get(f"{CORE}/things"),
        get(f"{C}/status"),
        get("/api/v1/namespaces/{ns}/nodes"),
    ],
    "selectors": [
        create(CONFIGS, config("a", {"labels": {"x": "1", "y": "2"}})),
        create(CONFIGS, config("b", {"labels": {"x": "2"}})),
        create(CONFIGS, config("c")),
        *(
            get(f"{CONFIGS}?labelSelector={text}")
            for text in (
                "x%3D1",
                "x%3D%3D1",
                "x!%3D1",
                "x+in+(1,2)",
                "x+notin+(1)",
                "x",
                "!x",
                "x%3D1,y%3D2",
                "x%3D",
                "!+x",
            )
        ),
        *(
            get(f"{CONFIGS}?fieldSelector={text}")
            for text in ("metadata.name%3Da", "metadata.name!%3Da", "metadata.namespace%3Dnope")
        ),
        get(f"{CONFIGS}?labelSelector=((", loose=True),
        get(f"{CONFIGS}?fieldSelector=data.x%3D1", loose=True),
        get(f"{WIDGETS}?fieldSelector=spec.host%3Da", loose=True),
        get(f"{WIDGETS}?fieldSelector=metadata.name%3Da"),
    ],
    "lists and metadata": [
        *(create(CONFIGS, config(name)) for name in "abc"),
        get(f"{CONFIGS}?limit=2"),
        get(f"{CONFIGS}?limit=2&labelSelector=!x"),
        get(f"{CONFIGS}?limit=2&continue=nonsense", loose=True),
        get(WIDGETS),
        get(f"{CONFIGS}?resourceVersion=0"),
        get(f"{CONFIGS}?resourceVersion=abc"),
        get(C, PARTIAL),
        get(CONFIGS, PARTIAL_LIST),
        get(CONFIGS, f"{PARTIAL_LIST},application/json"),
        get(CONFIGS, PARTIAL),
        get(C, PARTIAL_LIST),
        get(f"{CONFIGS}/none", PARTIAL),
        create(GLOBES, widget("{ns}", kind="Globe"), loose=True),
    ],
}

SCRIPTS = {**WRITES, **APPLIES, **REFUSALS}

__all__ = ["DEPLOYMENTS", "SCRIPTS", "Step"]
