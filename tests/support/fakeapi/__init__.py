"""A Kubernetes API server in memory, for tests: see README.md beside the folder.

api = FakeApi(crds=[...])
async with Server(api) as server:
    ... a client at server.url ...
api.journal, api.requests, api.faults, await api.settle()
"""

from .api import FakeApi
from .errors import Refusal
from .faults import Broken, Fault
from .request import Answer, Request, Write
from .server import Server
from .workloads import Workloads

__all__ = ["Answer", "Broken", "FakeApi", "Fault", "Refusal", "Request", "Server", "Workloads", "Write"]
