"""A fake: what Zalando's postgres-operator does where a client looks, and nothing of what it really does.

No PostgreSQL runs. For each `postgresql` object the stub writes the Secret of every role and the status Running, as the
operator does (docs/user.md), and when the object goes so do its Secrets. A test can hold it back.

    zalando = Zalando(api)       # from now on `await api.settle()` includes it
    zalando.working = False      # objects stay as they are
"""

import base64
from typing import Any

from support.fakeapi import FakeApi

Object = dict[str, Any]
MANAGER = "postgres-operator"
GROUP = "acid.zalan.do"

CRD: Object = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": f"postgresqls.{GROUP}"},
    "spec": {
        "group": GROUP,
        "names": {
            "kind": "postgresql",
            "plural": "postgresqls",
            "singular": "postgresql",
            "listKind": "postgresqlList",
        },
        "scope": "Namespaced",
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "subresources": {"status": {}},
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                            "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                        },
                    }
                },
            }
        ],
    },
}
"""As much of the definition as a client sees."""

RUNNING = {"PostgresClusterStatus": "Running"}


def credentials(obj: Object) -> list[Object]:
    """The Secrets of a cluster's roles."""
    meta = obj["metadata"]
    return [
        secret(meta["namespace"], meta["name"], role) for role in ("postgres", "standby", *obj["spec"].get("users", {}))
    ]


def secret(namespace: str, cluster: str, role: str) -> Object:
    """The Secret of a role."""
    name = f"{role.replace('_', '-')}.{cluster}.credentials.postgresql.{GROUP}"
    values = {"username": role, "password": f"password-of-{name}"}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace, "labels": {"application": "spilo"}},
        "type": "Opaque",
        "data": {key: base64.b64encode(value.encode()).decode() for key, value in values.items()},
    }


class Zalando:
    """The stub. It joins `api.settle` when it is made; the kind must be installed first."""

    def __init__(self, api: FakeApi) -> None:
        self.api = api
        self.working = True
        api.controllers.append(self.step)

    def step(self) -> None:
        """Brings every cluster's Secrets and status up to date."""
        if not self.working:
            return
        wanted: dict[tuple[str, str], Object] = {}
        for obj in self.api.objects("postgresql"):
            meta = obj["metadata"]
            wanted |= {(meta["namespace"], each["metadata"]["name"]): each for each in credentials(obj)}
            if obj.get("status") != RUNNING:
                self.api.edit("postgresql", meta["name"], meta["namespace"], manager=MANAGER, status=RUNNING)
        for (namespace, name), made in wanted.items():
            if self.api.get("Secret", name, namespace) is None:
                self.api.create(made, MANAGER)
        for found in self.api.objects("Secret"):
            meta = found["metadata"]
            ours = meta.get("labels", {}).get("application") == "spilo"
            if ours and (meta["namespace"], meta["name"]) not in wanted:
                self.api.delete("Secret", meta["name"], meta["namespace"])
