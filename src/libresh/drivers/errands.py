"""Errands: what a driver has done on a server that somebody else runs.

    wanted ──> Job in the operator's namespace ──> it says that it is done ──> put on record ──> Job cleared away
                  │        ^
                  └─ fails ┘  with the program's own words, tried again ever more slowly (within five minutes)

A Job runs a program of the image `errand` with an order (what is wanted, no secrets) and a folder of secrets as files.
Its name holds a digest of both: what it does cannot change once it is made. One errand of a claim runs at a time: one
that is no longer wanted is ended, and its pods are gone, before the next begins. Programs are idempotent, so an errand
whose Job was lost is simply run again. See decision 7.

Where the server chooses a secret, the errand gives it back: `gives` names a Secret that the driver applies without
data, and as long as the errand is looked at its pod, and no other, may patch that one (`drivers/given.py`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from libresh.api.claims import Claim
from libresh.drivers.model import Ask, Seen, Withdrawal
from libresh.plan import naming, objects
from libresh.plan.actions import Action, Apply, Delete, Mint, Object, Ref, Value
from libresh.plan.decision import Outcome, Settled, Stalled, Waiting
from libresh.plan.observed import job_result, last_words, status_of, trouble_of
from libresh.ports import Watched

VERSION = "1"
FOLDER = "/etc/libresh/errand"
REFUSED = 3
"""The exit code of a program that did its work and was not given what it needs: somebody must change something."""
RETRIES = 1000
"""Restarts of the container: the kubelet waits up to five minutes between two, so these last for days."""
CLEARED_AFTER = 600
"""Seconds after which a Job that ended goes by itself: one that gave up is then begun anew."""
COMPONENT = "errand"
DNS = {"ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]}
API = {"ports": [{"port": 443, "protocol": "TCP"}, {"port": 6443, "protocol": "TCP"}]}
"""Where API servers listen. Not to which address: network plugins differ in whether they look before or after a
Service's address is translated, and some know no addresses within the cluster."""

ERRAND_RUNNING = "ErrandRunning"
ERRAND_FAILING = "ErrandFailing"
SERVER_REFUSES = "ServerRefuses"  # the server has not what is asked for, or must not give it

WATCHES = (
    Watched("Job", writes=True),
    Watched("NetworkPolicy", writes=True),
    Watched("Secret", writes=True),
    Watched("Pod"),
)
"""What a driver that runs errands declares."""
GIVING_WATCHES = (
    *WATCHES,
    Watched("ServiceAccount", writes=True),
    Watched("Role", writes=True),
    Watched("RoleBinding", writes=True),
)
"""What a driver declares whose errands give secrets back."""


@dataclass(frozen=True)
class Errand:
    """One thing to have done. `state` stands for the values of the secrets: a change of it is another errand."""

    ask: Ask
    program: str
    """Which of the image's programs."""
    task: str
    host: str
    port: int
    order: Mapping[str, Any]
    secrets: Mapping[str, Value]
    state: str = ""
    gives: Ref | None = None
    """The Secret that the program puts what the server chose into. The driver applies it, without data."""
    also: tuple[int, ...] = ()
    """Further ports it may need to reach."""

    @property
    def claim(self) -> Claim:
        return self.ask.claim

    @property
    def server(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def digest(self) -> str:
        """Names what is wanted. A new claim of the same name wants it anew: what was done once may be so no more."""
        return naming.digest_of(self.claim.metadata.uid, self.program, self.task, self.order, self.state)

    def metadata(self, name: str, namespace: str = "") -> Object:
        """Metadata of a child, in the operator's namespace unless told: it has the owner's uid and no owner."""
        labels = naming.labels_for(name=self.program, instance=self.claim.name, component=COMPONENT)
        labels[naming.OWNER_UID_LABEL] = self.claim.metadata.uid
        return objects.build_metadata(name, namespace or self.ask.settings.system_namespace, labels)

    def build_job(self) -> Object:
        gives = {"LIBRESH_GIVES": f"{self.gives.namespace}/{self.gives.name}"} if self.gives else {}
        container = objects.Container(
            name=COMPONENT,
            image=self.ask.settings.image("errand", VERSION),
            args=(self.program, self.task),
            env={"LIBRESH_ORDER": msgspec.json.encode(self.order, order="deterministic").decode(), **gives},
            mounts=(objects.from_secret("secrets", FOLDER, base_name(self.claim)),),
            resources=objects.Resources(cpu="10m", memory="32Mi", memory_limit="128Mi"),
        )
        account = base_name(self.claim) if self.gives else ""
        pod = objects.Pod((container,), service_account=account, grace=10, restart="OnFailure")
        name = f"{self.claim.name}-{naming.digest_of(self.digest, pod.build())}"
        return objects.build_job(self.metadata(name), pod, retries=RETRIES, keep_seconds=CLEARED_AFTER)

    def plan(self, job: Object) -> tuple[Action, ...]:
        """The secrets, the one way out, what the program may write, and the Job. While a secret cannot be had the Job
        is not made."""
        name = base_name(self.claim)
        selector = {
            naming.COMPONENT_LABEL: COMPONENT,
            naming.OWNER_UID_LABEL: self.claim.metadata.uid,
        }
        ports = [{"port": port, "protocol": "TCP"} for port in dict.fromkeys((self.port, *self.also))]
        out = [DNS, {"ports": ports}, *([API] if self.gives else [])]
        return (
            Mint(self.metadata(name), self.secrets),
            Apply(objects.build_network_policy(self.metadata(name), selector=selector, ingress=(), egress=out)),
            *(self.plan_right(self.gives) if self.gives else ()),
            Apply(job),
        )

    def plan_right(self, given: Ref) -> tuple[Action, ...]:
        """The pod's own account, which may change that one Secret and not even read it."""
        name, there = base_name(self.claim), self.metadata(base_name(self.claim), given.namespace)
        rule = {"apiGroups": [""], "resources": ["secrets"], "resourceNames": [given.name], "verbs": ["patch"]}
        home = self.ask.settings.system_namespace
        return (
            Apply(objects.build_service_account(self.metadata(name))),
            Apply(objects.build_role(there, [rule])),
            Apply(objects.build_role_binding(there, role=name, service_account=name, home=home)),
        )


@dataclass(frozen=True)
class Course:
    """How an errand stands. `actions` keep it going, and while it is looked at keep it there."""

    done: bool
    outcome: Outcome
    actions: tuple[Action, ...]


def base_name(claim: Claim) -> str:
    """The name of what a claim's errands stand on: of the claim, and unique in the operator's namespace."""
    return f"{claim.name}-{naming.digest_of(claim.KIND.kind, claim.namespace, claim.name)}"


def run(errand: Errand, seen: Seen, *, ready: bool) -> Course:
    """Has the errand done. `ready`: what the claim gives works meanwhile."""
    job = errand.build_job()
    name = job["metadata"]["name"]
    others = [each["metadata"]["name"] for each in seen.jobs if each["metadata"]["name"] != name]
    if others or any(is_at_work(pod) for pod in seen.pods if job_of(pod) != name):
        ends = tuple(Delete(Ref("Job", other, errand.ask.settings.system_namespace)) for other in others)
        waiting = Waiting(ERRAND_RUNNING, f"{errand.server}: an earlier errand is ended first", ready=ready)
        return Course(False, waiting, ends)
    actions = errand.plan(job)
    found = next((each for each in seen.jobs if each["metadata"]["name"] == name), None)
    if job_result(found):
        return Course(True, Settled(f"{errand.server} has done what was asked"), actions)
    return Course(False, outcome_of(errand, found, seen, ready=ready), actions)


def outcome_of(errand: Errand, job: Object | None, seen: Seen, *, ready: bool) -> Outcome:
    """What keeps an errand from being done, in the program's own words where it has said some."""
    pods = [pod for pod in seen.pods if job is not None and job_of(pod) == job["metadata"]["name"]]
    if words := last_words(pods):
        code, said = words
        if code == REFUSED:
            return Stalled(SERVER_REFUSES, said, ready=ready)
        return Waiting(ERRAND_FAILING, f"{said or 'The errand ended without a word'}; it is tried again", ready=ready)
    if trouble := trouble_of(pods):
        return Waiting(ERRAND_FAILING, f"{errand.server} cannot be told: {trouble}", ready=ready)
    if job_result(job) is False:
        again = f"{errand.server} could not be told; it is begun anew within {CLEARED_AFTER // 60} minutes"
        return Waiting(ERRAND_FAILING, again, ready=ready)
    return Waiting(ERRAND_RUNNING, f"{errand.server} is being told", ready=ready)


def withdraw(
    errand: Errand, seen: Seen, *, record: Ref, missing: Outcome | None, gives: Ref | None = None
) -> Withdrawal:
    """Under Delete this errand undoes all that was done on the server before the claim goes; under Retain nothing.

    `record`: the Secret that says what was done; `missing`: what the cluster's operator has not provided.
    """
    claim = errand.claim
    left = left_of(errand, seen, gives=gives)
    begun = seen.secret(record) is not None or bool(seen.jobs) or claim.status.binding is not None
    if errand.ask.keep or not begun:
        return Withdrawal(Settled("Nothing is to be undone outside"), left=left)
    if missing:
        return Withdrawal(with_way_out(missing, claim), left=left)
    course = run(errand, seen, ready=False)
    return Withdrawal(with_way_out(course.outcome, claim), course.actions, left)


def with_way_out(outcome: Outcome, claim: Claim) -> Outcome:
    """What keeps the claim from going, and how to let it go all the same."""
    if isinstance(outcome, Settled) or outcome.reason == ERRAND_RUNNING:
        return outcome
    patch = '{"spec":{"deletionPolicy":"Retain"}}'
    message = (
        f"{outcome.message}. To let the claim go and leave on the server what is there: kubectl -n {claim.namespace} "
        f"patch {claim.KIND.plural}.{claim.KIND.group} {claim.name} --type merge -p '{patch}'"
    )
    return replace(outcome, message=message)


def left_of(errand: Errand, seen: Seen, *, gives: Ref | None = None) -> tuple[Ref, ...]:
    """All that errands of a claim may have left. `gives`: where some of them gave something back."""
    name, namespace = base_name(errand.claim), errand.ask.settings.system_namespace
    jobs = [Ref("Job", job["metadata"]["name"], namespace) for job in seen.jobs]
    rights: tuple[Ref, ...] = ()
    if gives is not None:
        there = gives.namespace
        rights = (
            Ref("RoleBinding", name, there),
            Ref("Role", name, there),
            Ref("ServiceAccount", name, namespace),
        )
    return (*jobs, *rights, Ref("Secret", name, namespace), Ref("NetworkPolicy", name, namespace))


def job_of(pod: Object) -> str:
    return str(pod["metadata"].get("labels", {}).get(naming.JOB_LABEL, ""))


def is_at_work(pod: Object) -> bool:
    """Whether a pod may still do something."""
    return status_of(pod).get("phase") not in ("Succeeded", "Failed")
