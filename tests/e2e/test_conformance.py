"""Every kind of claim by the driver embedded goes through the conformance suite, with a small crowd."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from e2e import kubernetes
from e2e.world import World
from libresh.conformance import report as reports
from libresh.conformance import running
from libresh.conformance.model import FAILED, Report
from libresh.conformance.profile import PROFILES
from libresh.conformance.running import Nobody, Options

pytestmark = pytest.mark.e2e

CROWD = 3
"""Two hundred are for make conformance: here every claim has a server of its own on two cores."""


@pytest.fixture(scope="module")
def found(world: World, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Report]:
    """All kinds at once: most of it is waiting."""
    folder = tmp_path_factory.mktemp("conformance")

    async def work() -> dict[str, Report]:
        options = Options("embedded", crowd=CROWD)
        async with kubernetes.connected(world) as kube:
            runs = (running.run_kind(kube.client, options, kind, Nobody()) for kind in PROFILES)
            return dict(zip(PROFILES, await asyncio.gather(*runs), strict=True))

    made = asyncio.run(work())
    for each in made.values():
        reports.write(each, folder)
    assert len(list(Path(folder).glob("*.xml"))) == len(PROFILES)
    return made


@pytest.mark.parametrize("kind", PROFILES)
def test_it_conforms(kind: str, found: dict[str, Report], tell: Callable[[str], None]) -> None:
    report = found[kind]
    assert [f"{each.case}: {each.message}" for each in report.results if each.status == FAILED] == []
    tell(f"{kind} by embedded went through {len(report.results)} cases in {report.seconds:.0f} s")
