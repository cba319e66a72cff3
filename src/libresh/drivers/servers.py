"""What drivers share that run one server for all claims of a class: accounts, and when one is really there.

    claim: secret minted ──> class: account written ──> server restarted with it ──> claim: ready
                                  ^                            │
                                  └── the next ones wait ──────┘

While a working server restarts it is not told of more accounts: however many come, they come in with one restart more.
"""

from collections.abc import Callable, Sequence

from libresh.api.claims import Claim
from libresh.api.services import ServiceClass
from libresh.drivers.model import Ask
from libresh.drivers.outcomes import ROLLING, STARTING, outcome_of_workload
from libresh.plan import naming
from libresh.plan.actions import Object
from libresh.plan.decision import Outcome, Settled, Waiting
from libresh.plan.observed import is_available, is_rolling
from libresh.ports import SecretView

NOT_KNOWN_YET = "NotKnownToServer"
DEADLINE = 60
"""Seconds a restart may take before the class is called not ready."""


def account_name(claim: Claim) -> str:
    """The name of a claim's account on a server: unique in the cluster."""
    return f"{claim.namespace}.{claim.name}"


def outcome_of_account(what: str, ask: Ask, server: Object | None, accounts: SecretView | None, key: str) -> Outcome:
    """Ready once a server is running that was started with the account: the accounts' Secret has the claim's `key`, and
    the pods carry that Secret's digest. From then on the class says whether the server works."""
    if ask.claim.status.binding is not None:
        if ask.served:
            return Settled(f"{what} is ready")
        return Waiting(STARTING, f"{what} does not answer: see ServiceClass {ask.class_name}")
    if accounts is None or key not in accounts.keys or not started_with(server, accounts):
        return Waiting(NOT_KNOWN_YET, f"{what} is being told of {account_name(ask.claim)}")
    outcome = outcome_of_workload(what, server)
    return outcome if isinstance(outcome, Settled) else Waiting(STARTING, f"{what} is starting")


def outcome_of_server(what: str, cls: ServiceClass, server: Object | None, settled: str) -> Outcome:
    """How the server of a class stands. A class that was ready stays ready while its server restarts as planned."""
    outcome = outcome_of_workload(what, server)
    if isinstance(outcome, Settled):
        return Settled(settled)
    if is_restarting(cls, server) and not is_available(server):
        return Waiting(ROLLING, f"{what} is being restarted with its new accounts", ready=True)
    return outcome


def is_restarting(cls: ServiceClass, server: Object | None) -> bool:
    """Whether a server that worked is being restarted as planned."""
    return cls.was_ready() and is_rolling(server)


def accounts_now(
    cls: ServiceClass,
    claims: Sequence[Claim],
    server: Object | None,
    accounts: SecretView | None,
    key: Callable[[Claim], str],
) -> list[Claim]:
    """The claims the server is to know of: those it knows while it restarts, all when it is done."""
    if accounts is None or not is_restarting(cls, server):
        return list(claims)
    return [claim for claim in claims if key(claim) in accounts.keys]


def started_with(server: Object | None, accounts: SecretView) -> bool:
    """Whether the pods that the server's object asks for are the ones with these accounts."""
    if server is None:
        return False
    annotations = server["spec"]["template"]["metadata"].get("annotations", {})
    return bool(annotations.get(naming.CONTENT_ANNOTATION) == accounts.digest)
