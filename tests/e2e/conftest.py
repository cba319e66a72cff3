"""The cluster, the homeservers on it, and what is told when a story fails."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import aiohttp
import pytest
import yaml

from e2e import diagnosis, kubernetes, web
from e2e import world as clusters
from e2e.kubernetes import Kube, Object
from e2e.matrix import Homeserver
from e2e.world import ROOT, World

STORIES = (
    "matrix",
    "isolation",
    "healing",
    "refusals",
    "memory",
    "conformance",
    "survival",
    "deletion",
    "readme",
    "nodes",
    "failover",
    "garage",
)
"""The order the files are run in: those that break things come after those that need them whole."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort the stories among themselves; everything else stays where it is, before them."""

    def place(item: pytest.Item) -> int:
        return 1 + STORIES.index(item.path.stem.removeprefix("test_")) if item.path.parent == HERE else 0

    items.sort(key=place)


HERE = ROOT / "tests" / "e2e"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """What the cluster looked like, with every failure."""
    report = yield
    found = getattr(item, "funcargs", {}).get("world")
    if report.when == "call" and report.failed and isinstance(found, World):
        report.sections.append(("the cluster at that moment", diagnosis.describe(found)))
    return report


MEASURED = "measured"
HOPELESS = pytest.StashKey[bool]()


@pytest.fixture
def tell(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Says a measured fact, which is shown after the run."""
    return lambda fact: request.node.user_properties.append((MEASURED, fact))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The facts that the stories measured."""
    reports = (*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed"))
    if facts := [fact for report in reports for name, fact in report.user_properties if name == MEASURED]:
        terminalreporter.section("measured")
        for fact in facts:
            terminalreporter.line(fact)


@pytest.fixture(scope="session")
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    """A cluster of one node with the operator. If it cannot be had that is told once, not tried for every story."""
    if request.config.stash.get(HOPELESS, False):
        pytest.fail("the cluster could not be brought up: see the first story's error", pytrace=False)
    request.config.stash[HOPELESS] = True
    with clusters.made() as found:
        request.config.stash[HOPELESS] = False
        yield found


@pytest.fixture(scope="session")
def three_nodes(world: World) -> None:
    """The cluster grows to three nodes."""
    world.libresh("up", "--name", world.cluster.name, "--no-example", "--nodes", "3", seconds=900)


@pytest.fixture
async def kube(world: World) -> AsyncIterator[Kube]:
    async with kubernetes.connected(world) as found:
        yield found


@pytest.fixture
async def session(world: World) -> AsyncIterator[aiohttp.ClientSession]:
    """A browser with no cookies yet."""
    async with web.open_session(world) as found:
        yield found


@pytest.fixture(scope="session")
def example(world: World) -> None:
    """The Matrix of examples/matrix.yaml, ready: chat/chat at chat.localhost."""
    make(world, [each for each in yaml.safe_load_all((ROOT / "examples" / "matrix.yaml").read_text()) if each])


def make(world: World, documents: list[Object]) -> None:
    """Apply a namespace and its Matrix, and wait until that is ready."""
    metadata = documents[-1]["metadata"]

    async def work() -> None:
        async with kubernetes.connected(world) as kube:
            await kube.apply(*documents)
            await kube.ready("Matrix", metadata["name"], metadata["namespace"])

    asyncio.run(work())


@pytest.fixture(scope="session")
def neighbour(world: World) -> None:
    """A second Matrix of the same name in another namespace: other/chat at other.localhost."""
    matrix = {
        "apiVersion": "apps.libre.sh/v1alpha1",
        "kind": "Matrix",
        "metadata": {"name": "chat", "namespace": "other"},
        "spec": {"host": "other.localhost", "mail": {}},
    }
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "other", "labels": labels}}
    make(world, [space, matrix])


@pytest.fixture
def other(neighbour: None, session: aiohttp.ClientSession) -> Homeserver:
    """The homeserver of the neighbour."""
    return Homeserver(session, "other.localhost")


@pytest.fixture
def chat(example: None, session: aiohttp.ClientSession) -> Homeserver:
    """The homeserver of the example."""
    return Homeserver(session, "chat.localhost")
