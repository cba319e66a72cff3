"""A fake: a server that somebody else runs, and Jobs that do errands there. Nothing runs; accounts are a dictionary.

For each Job of an errand the stub makes a pod, reads order and secrets as the program would, and ends it as Kubernetes
does: completed, or restarting with the program's last words. A test can take the server away or let the Jobs hang.

    outside = Outside(api, workloads)      # from now on `await api.settle()` includes it
    outside.fails = (1, "server:5432 does not let the administrator in: Connection refused")
    outside.hangs = True
"""

import base64
import json
from typing import Any

from support.fakeapi import FakeApi
from support.fakeapi.workloads import Workloads

Object = dict[str, Any]
MANAGER = "kube-controller-manager"
SYSTEM = "libresh-system"
USERS = {"postgresql": "role", "redis": "user", "keycloak": "client"}
"""Where the order of a program names the account."""
PROVIDERS = ("external", "keycloak", "registration")


class Outside:
    """The stub. It takes Jobs and pods over from the stub of Kubernetes' controllers."""

    def __init__(self, api: FakeApi, workloads: Workloads) -> None:
        self.api = api
        self.accounts: dict[str, set[str]] = {}
        """The passwords each user may log in with."""
        self.done: list[str] = []
        """Every errand that was done: `<program> <task>`."""
        self.at_once: list[int] = []
        """How many errands of one claim there were, at every look."""
        self.locked_out: list[str] = []
        """Users whose published password did not work, at any look while there was such a user."""
        self.fails: tuple[int, str] | None = None
        self.hangs = False
        workloads.tables = [table for table in workloads.tables if table.kind.kind not in ("Job", "Pod")]
        api.controllers.append(self.step)

    # --- Kubernetes ------------------------------------------------------------------------------------------

    def step(self) -> None:
        """Brings every errand one step further."""
        jobs = {job["metadata"]["name"]: job for job in self.api.objects("Job", SYSTEM)}
        for pod in self.api.objects("Pod", SYSTEM):
            if pod["metadata"]["labels"]["batch.kubernetes.io/job-name"] not in jobs:
                self.api.delete("Pod", pod["metadata"]["name"], SYSTEM)
        for name, job in jobs.items():
            self.serve(name, job)
        owners = [job["metadata"]["labels"]["libre.sh/owner-uid"] for job in jobs.values()]
        self.at_once += [owners.count(owner) for owner in set(owners)]
        self.check_published()

    def serve(self, name: str, job: Object) -> None:
        if job.get("status", {}).get("conditions") or not self.is_mountable(job):
            return
        if self.api.get("Pod", f"{name}-x", SYSTEM) is None:
            labels = {**job["spec"]["template"]["metadata"]["labels"], "batch.kubernetes.io/job-name": name}
            meta = {"name": f"{name}-x", "namespace": SYSTEM, "labels": labels}
            pod = {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": job["spec"]["template"]["spec"]}
            self.api.create(pod, MANAGER)
            return
        if self.hangs:
            return self.say(name, "Running", {"state": {"running": {}}})
        if self.fails:
            code, words = self.fails
            ended = {"terminated": {"exitCode": code, "message": words}}
            waiting = {"waiting": {"reason": "CrashLoopBackOff"}}
            return self.say(name, "Running", {"state": waiting, "lastState": ended})
        self.do(job)
        self.say(name, "Succeeded", {"state": {"terminated": {"exitCode": 0}}})
        complete = {"type": "Complete", "status": "True", "reason": "CompletionsReached", "message": ""}
        self.write("Job", name, {"conditions": [complete], "succeeded": 1})

    def say(self, job: str, phase: str, container: Object) -> None:
        seen = {"name": "errand", "ready": False, "restartCount": 0, "image": "", "imageID": "", **container}
        self.write("Pod", f"{job}-x", {"phase": phase, "containerStatuses": [seen]})

    def write(self, kind: str, name: str, status: Object) -> None:
        obj = self.api.get(kind, name, SYSTEM)
        if obj is not None and obj.get("status") != status:
            obj["status"] = status
            self.api.do("PUT", self.api.kind(kind), SYSTEM, name, obj, MANAGER, "status")

    # --- the program -----------------------------------------------------------------------------------------

    def is_mountable(self, job: Object) -> bool:
        return self.api.get("Secret", secret_of(job), SYSTEM) is not None

    def do(self, job: Object) -> None:
        """What the program would do with the server."""
        (container,) = job["spec"]["template"]["spec"]["containers"]
        program, task = container["args"]
        order = json.loads(container["env"][0]["value"])
        files = decoded(self.api.get("Secret", secret_of(job), SYSTEM))
        assert files["admin-username"] == "root"
        assert files["admin-password"] == "of-the-administrator"
        user = order[USERS[program]]
        if task == "remove":
            self.accounts.pop(user, None)
        else:
            # A Redis knows as many passwords of a user as it is told, the others one.
            keys = order["passwords"] if program == "redis" else order["passwords"][-1:]
            self.accounts[user] = {files[key] for key in keys}
        self.done.append(f"{program} {task}")

    def check_published(self) -> None:
        for secret in self.api.objects("Secret"):
            if secret["metadata"]["name"].endswith("-connection"):
                data = decoded(secret)
                user = data.get("username", data.get("client-id", ""))
                password = data.get("password", data.get("client-secret", ""))
                if data.get("provider") in PROVIDERS and password not in self.accounts.get(user, {password}):
                    self.locked_out.append(user)


def secret_of(job: Object) -> str:
    (volume,) = job["spec"]["template"]["spec"]["volumes"]
    return str(volume["secret"]["secretName"])


def decoded(secret: Object | None) -> dict[str, str]:
    return {key: base64.b64decode(value).decode() for key, value in (secret or {}).get("data", {}).items()}
