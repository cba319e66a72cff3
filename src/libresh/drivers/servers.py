"""What drivers share that run one server for all claims of a class: accounts, and when one is really there.

    claim: secret minted ──> class: account written ──> server restarted with it ──> claim: ready
                                  ^                            │
                                  └── the next ones wait ──────┘

While a working server restarts it is not told of more accounts: however many come, they come in with one restart more.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from libresh.api.claims import Claim
from libresh.api.services import ServiceClass
from libresh.drivers.model import Ask, Seen
from libresh.drivers.outcomes import ROLLING, STARTING, outcome_of_workload
from libresh.plan import naming
from libresh.plan.actions import Object, Ref
from libresh.plan.decision import Outcome, Settled, Waiting
from libresh.plan.observed import is_available, is_rolling
from libresh.ports import SecretView

NOT_KNOWN_YET = "NotKnownToServer"
DEADLINE = 60
"""Seconds a restart may take before the class is called not ready."""


def account_name(claim: Claim) -> str:
    """The name of a claim's account on a server: unique in the cluster."""
    return f"{claim.namespace}.{claim.name}"


@dataclass(frozen=True)
class AccountServer:
    """The server of one class, with an account on it for each claim."""

    what: str
    """How it is called in messages."""
    deployment: Ref
    accounts: Ref
    """The Secret with the accounts, which the server reads when it starts."""
    credentials: Callable[[Claim], Ref]
    """The Secret with what was minted for a claim's account."""
    key: Callable[[Claim], str]
    """The key of the accounts' Secret that says that a claim's account is in it."""

    def looks_at(self, claims: Sequence[Claim]) -> tuple[Ref, ...]:
        return (self.deployment, self.accounts, *map(self.credentials, claims))

    def outcome_of_account(self, ask: Ask, seen: Seen) -> Outcome:
        """Ready once a server is running that was started with the account: the accounts' Secret has the claim's key,
        and the pods carry that Secret's digest. From then on the class says whether the server works."""
        if ask.claim.status.binding is not None:
            if ask.served:
                return Settled(f"{self.what} is ready")
            return Waiting(STARTING, f"{self.what} does not answer: see ServiceClass {ask.class_name}")
        server, accounts = seen.get(self.deployment), seen.secret(self.accounts)
        if accounts is None or self.key(ask.claim) not in accounts.keys or not started_with(server, accounts):
            return Waiting(NOT_KNOWN_YET, f"{self.what} is being told of {account_name(ask.claim)}")
        outcome = outcome_of_workload(self.what, server)
        return outcome if isinstance(outcome, Settled) else Waiting(STARTING, f"{self.what} is starting")

    def outcome(self, cls: ServiceClass, seen: Seen, settled: str) -> Outcome:
        """How the server stands. A class that was ready stays ready while its server restarts as planned."""
        server = seen.get(self.deployment)
        outcome = outcome_of_workload(self.what, server)
        if isinstance(outcome, Settled):
            return Settled(settled)
        if is_restarting(cls, server) and not is_available(server):
            return Waiting(ROLLING, f"{self.what} is being restarted with its new accounts", ready=True)
        return outcome

    def claims_now(self, cls: ServiceClass, claims: Sequence[Claim], seen: Seen) -> list[Claim]:
        """The claims the server is to know of: those it knows while it restarts, all when it is done."""
        made = [claim for claim in claims if not claim.deleting and seen.secret(self.credentials(claim))]
        accounts = seen.secret(self.accounts)
        if accounts is None or not is_restarting(cls, seen.get(self.deployment)):
            return made
        return [claim for claim in made if self.key(claim) in accounts.keys]


def is_restarting(cls: ServiceClass, server: Object | None) -> bool:
    """Whether a server that worked is being restarted as planned."""
    return cls.was_ready() and is_rolling(server)


def started_with(server: Object | None, accounts: SecretView) -> bool:
    """Whether the pods that the server's object asks for are the ones with these accounts."""
    if server is None:
        return False
    annotations = server["spec"]["template"]["metadata"].get("annotations", {})
    return bool(annotations.get(naming.CONTENT_ANNOTATION) == accounts.digest)
