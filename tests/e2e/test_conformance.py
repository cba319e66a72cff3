"""Every driver goes through the conformance suite, for each kind of claim that it is tried with, with a small crowd.

All of them at once in one cluster: most of it is waiting.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from e2e import kubernetes
from e2e.world import World
from libresh.conformance import report as reports
from libresh.conformance.model import FAILED, PASSED, Report
from libresh.conformance.setting import Trial
from support import trying

pytestmark = pytest.mark.e2e

CROWD = 2
"""Two hundred are for make conformance: here many claims have a server of their own on two cores."""
TRIALS = [trial for trial in trying.trials() if not trial.variant]
"""Variants are for make conformance: one takes three nodes."""
FEW = ("use", "wrong-credentials", "secret-healed", "expand", "clone", "retain", "delete", "revoked")
"""What is asked of the other drivers: what they stand on is the driver embedded, a contract stub, or a server beside
the cluster that tests/images and tests/errand ask more of."""
WHOLE = {"embedded", "external"}
"""Drivers that are asked everything."""


def asked(trial: Trial) -> tuple[str, ...]:
    """The cases; none named: all of them."""
    return () if trial.driver in WHOLE else FEW


@pytest.fixture(scope="module")
def found(world: World) -> dict[Trial, Report | BaseException]:
    async def work() -> dict[Trial, Report | BaseException]:
        async with kubernetes.connected(world) as kube:
            return await trying.try_all(kube.client, {trial: asked(trial) for trial in TRIALS}, crowd=CROWD)

    return asyncio.run(work())


@pytest.mark.parametrize("trial", TRIALS, ids=lambda trial: trial.stem)
def test_it_conforms(
    trial: Trial, found: dict[Trial, Report | BaseException], tell: Callable[[str], None], tmp_path: Path
) -> None:
    report = found[trial]
    if isinstance(report, BaseException):
        raise report
    assert reports.write(report, tmp_path).exists()
    assert [f"{each.case}: {each.message}" for each in report.results if each.status == FAILED] == []
    passed = sum(each.status == PASSED for each in report.results)
    tell(f"{trial.stem} passed {passed} of {len(report.results)} cases in {report.seconds:.0f} s")
