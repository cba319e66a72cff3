"""Asking a class's driver, before the class is there, which Secrets it needs and whether these would do. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import msgspec

from libresh.api import CLAIMS
from libresh.api.claims import Claim
from libresh.api.meta import ObjectMeta
from libresh.api.services import ServiceClass, ServiceClassSpec
from libresh.cli.fitting import Fault, shown
from libresh.cli.judging import Manifest
from libresh.drivers import drivers, is_outside
from libresh.drivers.model import Ask, Driver, Seen, ServerDriver, Settings, runs_server
from libresh.plan.actions import Object, Ref, Theirs
from libresh.plan.decision import Outcome, Settled, Stalled
from libresh.ports import SecretView
from libresh.reconcilers.serving import read_parameters

EXAMPLES: Mapping[str, Object] = {"OIDCClient": {"parameters": {"redirectUris": ["https://example.org/"]}}}
"""What a claim must say at least, of the kinds that must say something: drivers are asked about a claim."""


@dataclass(frozen=True)
class Question:
    """A class as its driver is asked about it."""

    cls: ServiceClass
    driver: Driver
    parameters: Any
    settings: Settings = field(default_factory=Settings)

    @property
    def ask(self) -> Ask:
        """What the driver would be asked for a claim of this class."""
        claim = example_claim(self.cls.spec.claim_kind)
        return Ask(claim, self.cls.name, self.parameters, keep=True, settings=self.settings)

    def looks_at(self) -> tuple[Ref, ...]:
        """What the driver would look at, for the class and for a claim of it."""
        refs = self.driver.looks_at(self.ask)
        if runs_server(self.driver):
            server = cast(ServerDriver, self.driver)
            refs += server.server_looks_at(self.cls, self.parameters, (), self.settings)
        return refs

    def answer(self, secrets: Mapping[Ref, SecretView | None]) -> Outcome:
        """How the class would stand with these Secrets, as far as they alone decide it."""
        seen = Seen(secrets=secrets)
        if runs_server(self.driver):
            server = cast(ServerDriver, self.driver)
            outcome = server.plan_server(self.cls, self.parameters, (), seen, self.settings).outcome
            return outcome if isinstance(outcome, Stalled) else Settled()
        if all(isinstance(ref, Theirs) for ref in self.looks_at()):
            return self.driver.plan(self.ask, seen).outcome
        return Settled()


def question_for(manifest: Manifest) -> Question | None:
    """A manifest as its driver can be asked about it; None where it is too wrong for that."""
    spec = {key: value for key, value in manifest.spec.items() if value is not None}
    if any(fault.field.startswith(("spec", "metadata.name")) for fault in manifest.faults):
        return None
    if is_outside(spec["driver"]):
        return None
    driver = drivers()[spec["claimKind"], spec["driver"]]
    cls = ServiceClass(metadata=ObjectMeta(name=manifest.name), spec=msgspec.convert(spec, ServiceClassSpec))
    return Question(cls, driver, read_parameters(driver, manifest.name, cls.spec.parameters))


def example_claim(kind: str) -> Claim:
    """A claim of a kind that asks for nothing special."""
    type = next(each for each in CLAIMS if each.KIND.kind == kind)
    return msgspec.convert(
        {"metadata": {"name": "example", "namespace": "example"}, "spec": EXAMPLES.get(kind, {})}, type
    )


def foreign_secrets(manifest: Manifest) -> tuple[Ref, ...]:
    """The Secrets that somebody else must have made for this class to work: those its driver looks at."""
    question = question_for(manifest)
    if question is None:
        return ()
    return tuple(ref for ref in question.looks_at() if isinstance(ref, Theirs) and ref.kind == "Secret")


def find_missing_secrets(manifest: Manifest, secrets: Mapping[Ref, SecretView | None]) -> Iterator[Fault]:
    """Secrets that are not there or lack a key, in the driver's words where it has some."""
    refs, question = foreign_secrets(manifest), question_for(manifest)
    seen = {ref: secrets[ref] for ref in refs if ref in secrets}
    if not seen or question is None:
        return
    # The driver takes a Secret that may not be read for one that is not there.
    outcome = question.answer(seen) if len(seen) == len(set(refs)) else Settled()
    for ref, secret in seen.items():
        path = place_of(question.cls.spec.parameters, ref.name, "spec.parameters")
        way_out = f"make it in the namespace {ref.namespace} before the class, or correct {path}"
        if not isinstance(outcome, Settled):
            yield Fault(path, outcome.message.removeprefix(f"{path}: "), way_out)
            return
        if secret is None:
            yield Fault(path, f"the Secret {ref.namespace}/{shown(ref.name)} does not exist", way_out)


def place_of(values: Any, wanted: str, path: str) -> str:
    """Where among the parameters a Secret is named; the parameters as a whole where that cannot be told."""
    for key, value in values.items():
        if value == wanted:
            return f"{path}.{key}"
        if isinstance(value, dict) and (found := place_of(value, wanted, f"{path}.{key}")) != f"{path}.{key}":
            return found
    return path
