"""What `libresh class check` concludes of ServiceClass manifests, before they are applied. Pure.

documents ──> classes, each judged alone ──> together: defaults, names ──> with the cluster: changes, Secrets
          └─> what is no class: skipped, by name
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from libresh.api.services import DEFAULT_CLASS, ServiceClassSpec
from libresh.cli.asking import find_missing_secrets, foreign_secrets
from libresh.cli.documents import Document
from libresh.cli.fitting import Fault, plain, shown
from libresh.cli.judging import Manifest, is_ours, judge, unusable
from libresh.cli.surroundings import NOT_LISTED
from libresh.drivers import is_outside
from libresh.plan.actions import Object, Ref
from libresh.ports import SecretView

OFFLINE = (
    "without a cluster: whether Secrets exist, which other classes are the default, and what cannot change of a class "
    "that exists"
)


@dataclass(frozen=True)
class Finding:
    """What is wrong with one field of one document."""

    source: str
    document: str
    field: str
    reason: str
    way_out: str


@dataclass(frozen=True)
class Skipped:
    """A document that is no class."""

    source: str
    document: str
    what: str


@dataclass(frozen=True)
class Report:
    """All that was found."""

    checked: tuple[str, ...]
    findings: tuple[Finding, ...]
    skipped: tuple[Skipped, ...]
    unchecked: tuple[str, ...]
    """What could not be looked at, and why."""

    def as_json(self) -> dict[str, Any]:
        return {"ok": not self.findings, **asdict(self)}


@dataclass(frozen=True)
class Known:
    """What the cluster says."""

    classes: Sequence[Object] | None = None
    """The classes it has; None where this person may not list them."""
    secrets: Mapping[Ref, SecretView | None] = field(default_factory=dict)
    hidden: Sequence[Ref] = ()
    """Secrets this person may not read."""


def build_report(documents: Sequence[Document], known: Known | None) -> Report:
    """Everything that is wrong with the classes among the documents; `known` is None without a cluster."""
    findings: list[Finding] = []
    manifests, skipped = sort_out(documents, findings)
    for manifest in manifests:
        faults = [*manifest.faults, *find_rivals(manifest, manifests, known)]
        if known is not None:
            faults += [*find_changes(manifest, known), *find_missing_secrets(manifest, known.secrets)]
        findings += [finding_of(manifest.document, manifest.described, fault) for fault in faults]
    return Report(
        checked=tuple(shown(manifest.name) if manifest.name else manifest.document.place for manifest in manifests),
        findings=tuple(findings),
        skipped=tuple(skipped),
        unchecked=tuple(describe_unchecked(manifests, known)),
    )


def finding_of(document: Document, described: str, fault: Fault) -> Finding:
    return Finding(document.source, described, plain(fault.field), plain(fault.reason), plain(fault.way_out))


def describe_unchecked(manifests: Sequence[Manifest], known: Known | None) -> Iterator[str]:
    """What was not looked at."""
    for manifest in manifests:
        driver = manifest.spec.get("driver")
        if isinstance(driver, str) and is_outside(driver):
            yield f"{plain(manifest.described)}: spec.parameters; only the controller of {shown(driver)} can read them"
    if known is None:
        yield OFFLINE
        return
    if known.classes is None:
        yield f"the classes of the cluster: {NOT_LISTED}"
    for ref in known.hidden:
        yield f"Secret {ref.namespace}/{shown(ref.name)}: you may not read it"


def wanted_secrets(documents: Sequence[Document]) -> tuple[Ref, ...]:
    """The Secrets the cluster should be asked for."""
    manifests, _ = sort_out(documents, [])
    found = (ref for manifest in manifests for ref in foreign_secrets(manifest))
    return tuple(dict.fromkeys(found))


def sort_out(documents: Iterable[Document], findings: list[Finding]) -> tuple[list[Manifest], list[Skipped]]:
    """The classes among the documents, judged each alone; what cannot be told apart becomes a finding."""
    manifests: list[Manifest] = []
    skipped: list[Skipped] = []
    for document in documents:
        if fault := unusable(document):
            findings.append(finding_of(document, document.place, fault))
        elif is_ours(document.content):
            manifests.append(Manifest(document, document.content, tuple(judge(document.content))))
        else:
            metadata = document.content.get("metadata")
            name = metadata.get("name") if isinstance(metadata, dict) else None
            what = f"{shown(document.content['kind'])} {shown(name) if name else ''}".strip()
            skipped.append(Skipped(document.source, document.place, what))
    return manifests, skipped


# --- classes together, and with those of the cluster ---------------------------------------------------------


def find_rivals(manifest: Manifest, manifests: Sequence[Manifest], known: Known | None) -> Iterator[Fault]:
    """Another document of the same name, and other default classes of the same kind of claim."""
    others = [other for other in manifests if other is not manifest]
    for other in others:
        if manifest.name and other.name == manifest.name:
            where = f"{other.document.source}, {other.document.place}"
            yield Fault("metadata.name", f"{where} bears it too", "name one otherwise: the one applied last would win")
    if not manifest.is_default:
        return
    kind = manifest.spec.get("claimKind")
    rivals = {other.name for other in others if other.is_default and other.spec.get("claimKind") == kind}
    rivals |= defaults_in(known, kind) - {each.name for each in manifests}
    rivals -= {manifest.name}
    if rivals:
        names = ", ".join(shown(name) for name in sorted(rivals))
        yield Fault(
            f"metadata.annotations.{DEFAULT_CLASS}",
            f"the default for {shown(kind)} is also: {names}; with several, claims that name no class get none",
            "leave the annotation on one of them",
        )


def defaults_in(known: Known | None, kind: Any) -> set[str]:
    """The default classes for a kind of claim that the cluster has."""
    found = (known.classes if known else None) or ()
    return {
        str(each["metadata"]["name"])
        for each in found
        if (each.get("spec") or {}).get("claimKind") == kind
        and (each["metadata"].get("annotations") or {}).get(DEFAULT_CLASS) == "true"
        and not each["metadata"].get("deletionTimestamp")
    }


def find_changes(manifest: Manifest, known: Known) -> Iterator[Fault]:
    """What cannot be changed of a class that exists, in the words the API server has for it."""
    old = next((each for each in known.classes or () if each["metadata"]["name"] == manifest.name), None)
    if old is None:
        return
    for rule in ServiceClassSpec.RULES:
        key = rule.field.removeprefix(".")
        before, now = (old.get("spec") or {}).get(key), manifest.spec.get(key)
        if now is not None and now != before:
            why, _, way_out = rule.message.partition(". ")
            yield Fault(f"spec.{key}", f"it is {shown(before)} in the cluster. {why}", way_out or "keep it")
