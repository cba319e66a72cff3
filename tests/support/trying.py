"""All that the conformance suite can try here: `make conformance`, and the story that does the same with small crowds.

    python -m support.trying                       every driver, every kind of claim, one after the other
    python -m support.trying zalando --crowd 5     one driver; what follows goes to `libresh conformance driver`

Other operators are contract stubs that run beside the suite for as long as it lasts, and so do the servers that drivers
for somebody else's are tried with (neighbours.py). A driver is tried by a fixture for it: in
`libresh/conformance/fixtures`, or below, where it needs one of these.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from libresh.catalog.settings import Settings
from libresh.cli import access, applying
from libresh.cli.access import Target
from libresh.conformance import running, setting
from libresh.conformance.model import Report
from libresh.conformance.running import Nobody, Options
from libresh.conformance.setting import Trial
from libresh.errors import LibreshError
from libresh.kube.client import Client
from support.contracts import CloudNativePG, Contract, Crossplane, Zalando, over_http
from support.neighbours import neighbours

FIXTURES = Path(__file__).parents[1] / "conformance" / "fixtures"
STUBS: tuple[type[Contract], ...] = (CloudNativePG, Zalando, Crossplane)
MARK = "conformance.libre.sh/stub"
"""A label of the definitions that were installed for a stub: deleting them takes nothing of value along."""
OFTEN = 0.5
Cases = Mapping[Trial, tuple[str, ...]]
"""What is to be tried, with the only cases that are to be run; none named: all."""


def trials() -> list[Trial]:
    return setting.trials((FIXTURES,))


@asynccontextmanager
async def company(client: Client, drivers: Sequence[str]) -> AsyncIterator[None]:
    """What these drivers need beside the cluster; nothing of it is left afterwards."""
    settings = Settings(image_prefix=(await setting.read_surroundings(client)).images)
    image = settings.image("postgresql", "17")
    async with neighbours(client, drivers, image), operators(client, drivers, image):
        yield


@asynccontextmanager
async def operators(client: Client, drivers: Sequence[str], image: str) -> AsyncIterator[None]:
    """The contract stubs that these drivers need, on real servers; their definitions are gone afterwards."""
    made = [stub() for stub in STUBS if stub.driver in drivers]
    async with AsyncExitStack() as stack:
        for stub in made:
            stub.image = image
            await define(client, stub)
            stack.push_async_callback(undefine, client, stub)
            await stack.enter_async_context(over_http(client, stub, every=OFTEN))
        yield


async def define(client: Client, stub: Contract) -> None:
    """Installs the definitions of a stub, and nothing over those of the real operator."""
    for definition in stub.crds:
        metadata = definition["metadata"]
        found = await client.get("CustomResourceDefinition", metadata["name"])
        if found and MARK not in found["metadata"].get("labels", {}):
            raise LibreshError("not-a-stub", f"This cluster has {metadata['name']} already", "use one without it")
        await applying.apply(client, {**definition, "metadata": {**metadata, "labels": {MARK: "true"}}})
    names = [definition["metadata"]["name"] for definition in stub.crds]
    await applying.wait_until(lambda: applying.established(client, names), 60, "Not served", "look at the API server")


async def undefine(client: Client, stub: Contract) -> None:
    for definition in stub.crds:
        await client.delete("CustomResourceDefinition", definition["metadata"]["name"])


async def try_all(client: Client, chosen: Cases, **options: Any) -> dict[Trial, Report | BaseException]:
    """All of them at once: most of it is waiting. What could not even be begun does not keep the others from it."""

    async def one(trial: Trial) -> Report:
        asked = Options(trial.driver, trial.variant, cases=chosen[trial], fixtures=(FIXTURES,), **options)
        return await running.run_kind(client, asked, trial.kind, Nobody())

    async with company(client, [trial.driver for trial in chosen]):
        found = await asyncio.gather(*map(one, chosen), return_exceptions=True)
    return dict(zip(chosen, found, strict=True))


async def run_beside(driver: str, words: Sequence[str]) -> int:
    """One trial after the other, each as a person would run it. The worst exit code."""
    chosen = [trial for trial in trials() if driver in ("", trial.driver)]
    codes = [0] if chosen else [2]
    async with access.connect(Target()) as client, company(client, [trial.driver for trial in chosen]):
        for trial in chosen:
            variant = ("--variant", trial.variant) if trial.variant else ()
            named = (trial.driver, "--kind", trial.kind, *variant, "--fixtures", str(FIXTURES))
            command = (sys.executable, "-m", "libresh.cli", "conformance", "driver", *named, *words)
            codes.append(await run_to_its_end(command))
    return max(codes)


async def run_to_its_end(command: Sequence[str]) -> int:
    """The exit code of a command. Who interrupts us interrupts it, too, and what it then clears up needs the others."""
    process = await asyncio.create_subprocess_exec(*command)
    try:
        return await process.wait()
    finally:
        await process.wait()


def main(arguments: list[str]) -> int:
    driver = arguments[0] if arguments and not arguments[0].startswith("-") else ""
    return asyncio.run(run_beside(driver, arguments[1:] if driver else arguments))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
