"""Contract stubs of other operators: what theirs do where a client looks, and nothing of what they really do.

Each accepts the operator's documented objects (a definition with the fields that libre.sh uses, and no others), goes
through its documented states, writes its Secrets with its labels, and fails as documented when it is told to. No
service runs, unless a stub of a database is given an image of PostgreSQL to stand on (standing.py).

    zalando = Zalando(api)                        # in memory: from now on `await api.settle()` includes it
    async with over_http(client, Zalando()): ...  # beside any API server, the definitions being installed there
    zalando.working = False                       # objects stay as they are
    zalando.says["pg-my-db"] = {"PostgresClusterStatus": "SyncFailed"}
    zalando.lacking = {"password"}                # keys that its Secrets do not have
    zalando.image = ".../postgresql:17"           # by HTTP, beside a whole cluster: a real server behind each object
"""

from .cloudnative_pg import CloudNativePG
from .crossplane import Crossplane
from .model import Contract, Verdict, over_http
from .zalando import Zalando

__all__ = ["CloudNativePG", "Contract", "Crossplane", "Verdict", "Zalando", "over_http"]
