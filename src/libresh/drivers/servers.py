"""What drivers share that run one server for all claims of a class: accounts, and when one is really there."""

from libresh.api.claims import Claim
from libresh.drivers.outcomes import STARTING, outcome_of_workload
from libresh.plan import naming
from libresh.plan.actions import Object
from libresh.plan.decision import Outcome, Settled, Waiting
from libresh.plan.observed import is_available
from libresh.ports import SecretView

NOT_KNOWN_YET = "NotKnownToServer"


def account_name(claim: Claim) -> str:
    """The name of a claim's account on a server: unique in the cluster."""
    return f"{claim.namespace}.{claim.name}"


def outcome_of_account(
    what: str, claim: Claim, server: Object | None, accounts: SecretView | None, key: str
) -> Outcome:
    """Ready once a server is running that was started with the account: the accounts' Secret has the claim's `key`, and
    the pods carry that Secret's digest. An account that worked stays ready while the server learns of others."""
    known = claim.status.binding is not None and accounts is not None and key in accounts.keys
    if known:
        return Settled(f"{what} is ready") if is_available(server) else Waiting(STARTING, f"{what} is starting")
    if accounts is None or key not in accounts.keys or not started_with(server, accounts):
        return Waiting(NOT_KNOWN_YET, f"{what} is being told of {account_name(claim)}")
    outcome = outcome_of_workload(what, server)
    return outcome if isinstance(outcome, Settled) else Waiting(STARTING, f"{what} is starting")


def started_with(server: Object | None, accounts: SecretView) -> bool:
    """Whether the pods that the server's object asks for are the ones with these accounts."""
    if server is None:
        return False
    annotations = server["spec"]["template"]["metadata"].get("annotations", {})
    return bool(annotations.get(naming.CONTENT_ANNOTATION) == accounts.digest)
