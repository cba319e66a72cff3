"""`libresh claim`: who serves a claim, why, and what it would take to be served otherwise."""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

import click
import msgspec

from libresh import apps
from libresh.api import CLAIMS
from libresh.api.apps import App, AppProfile
from libresh.api.claims import Claim
from libresh.api.meta import Resource
from libresh.api.services import ServiceClass
from libresh.catalog.build import claim_name
from libresh.catalog.model import Need, Refusal
from libresh.catalog.profile import resolve
from libresh.cli import access, classes, explanation, naming, output, overview, secretview
from libresh.cli import status as screen
from libresh.cli.access import Target
from libresh.cli.explanation import Connection, Difference, Explanation
from libresh.cli.output import paint
from libresh.cli.surroundings import NOT_LISTED, Owner, Seen
from libresh.cli.swapping import Alternative, Swap
from libresh.errors import LibreshError
from libresh.kube.client import Client
from libresh.kube.errors import NotFound, Refused
from libresh.plan.actions import Object, Ref

R = TypeVar("R", bound=Resource)

WIDTH = 100
"""How long the lines of the screen are at most, beside their labels."""


@click.group("claim")
def claims() -> None:
    """Claims: databases, caches, buckets, mail accounts and identity clients that somebody asked for."""


@claims.command("explain")
@click.option("-n", "--namespace", metavar="NS", default="", help="Where the claim is, if its name is not unique.")
@output.output_option
@access.cluster_options
@click.argument("claim", metavar="KIND/NAME")
def explain(target: Target, form: str, namespace: str, claim: str) -> None:
    """Who serves a claim and why, what it can do, and what being served by another class would take.

    \b
    libresh claim explain postgresql/chat-db
    libresh claim explain redis/my-cache -n acme -o json
    """
    parsed, name = naming.parse(claim, CLAIMS)
    assert issubclass(parsed, Claim)
    kind: type[Claim] = parsed

    async def work(client: Client) -> Explanation:
        found = await naming.find(client, kind, name, namespace)
        seen = await observe(client, decode(kind, found))
        return explanation.build_explanation(seen, overview.stand(kind, found).state)

    told = access.run(work, target)
    if form == output.JSON:
        output.show_json(told.as_json())
    else:
        click.echo("\n".join(render(told)))


async def observe(client: Client, claim: Claim) -> Seen:
    """Reads the classes, the connection secret and the application around a claim."""
    listed = await classes.list_or_none(client)
    name = claim.status.binding.name if claim.status.binding else claim.connection_secret
    ref = Ref("Secret", name, claim.namespace)
    secrets, hidden = await secretview.look_at_all(client, (ref,))
    return Seen(
        claim=claim,
        now=datetime.now(UTC),
        classes=None if listed is None else [decode(ServiceClass, each) for each in listed],
        secret=secrets.get(ref),
        secret_hidden=bool(hidden),
        owner=await find_owner(client, claim),
        labels=await read_labels(client, claim.namespace),
    )


async def read_labels(client: Client, namespace: str) -> Mapping[str, str]:
    """The labels of a namespace, as far as this person may read it."""
    try:
        found = await client.get("Namespace", namespace) or {}
    except Refused:
        return {}
    labels: Mapping[str, str] = found.get("metadata", {}).get("labels") or {}
    return labels


def decode(type: type[R], obj: Object) -> R:
    """An object of ours by its type."""
    try:
        return msgspec.convert(obj, type)
    except msgspec.ValidationError as error:
        what = f"{type.KIND.kind} {obj['metadata'].get('name', '')}"
        raise LibreshError("invalid-object", f"{what} is not valid: {error}", "correct that field") from error


async def find_owner(client: Client, claim: Claim) -> Owner | None:
    """The application a claim was made for, with the field that asks for it."""
    packages = apps.packages()
    for owner in claim.metadata.owner_references:
        package = packages.get(owner.kind)
        if package is None or not owner.controller:
            continue
        try:
            raw = await client.get(owner.kind, owner.name, claim.namespace)
        except Refused:
            raw = None
        if raw is None:
            return None
        app = decode(package.kind, raw)
        need = await find_need(client, app, raw, claim)
        return Owner(app, need.role, need.data) if need else Owner(app)
    return None


async def find_need(client: Client, app: App, raw: Object, claim: Claim) -> Need | None:
    """What an application needs a claim for, with what its profiles say; as far as they may be read."""
    package = apps.packages()[app.KIND.kind]
    try:
        profiles = [decode(AppProfile, each) for each in await client.list(AppProfile.KIND.kind)]
    except (Refused, NotFound):
        profiles = []
    effective = resolve(package, app, raw.get("spec") or {}, profiles)
    spec: Any = app.spec if isinstance(effective, Refusal) else effective.spec
    needs = package.needs(app, spec)
    here = (need for need in needs if need.wish.secret is None and need.wish.namespace in (None, claim.namespace))
    return next((need for need in here if isinstance(claim, need.claim) and claim_name(app, need) == claim.name), None)


# --- for people --------------------------------------------------------------------------------------------------


def render(told: Explanation) -> list[str]:
    """The screen, line by line."""
    choice = told.choice
    made = f", made for {told.owner}" if told.owner else ""
    optional = (("must", told.requires), ("began with", told.source), ("restorable", told.restorable))
    rows = [
        ("class", f"{choice.name or 'none'}: {choice.why}"),
        ("driver", choice.driver or "-"),
        ("behind it", told.instance or "nothing yet"),
        ("can", ", ".join(told.capabilities) or "-"),
        *((label, text) for label, text in optional if text),
        ("parameters", told.parameters),
        *(("", render_difference(each)) for each in told.differences),
        ("deletion", f"{told.deletion_policy.value or 'not decided'}: {told.deletion_policy.source}"),
        ("secret", render_connection(told.connection)),
    ]
    lines = [f"{told.claim} in {told.namespace}{made}  {paint(told.state, screen.COLOURS[told.state])}", ""]
    folded = [(label if first else "", line) for label, text in rows for first, line in fold(text)]
    lines += output.build_table(folded[0], folded[1:])
    lines += ["", title("CONDITIONS")]
    for each in told.conditions:
        lines += [line for _, line in fold(f"{each.words} ({each.reason})" if each.reason else each.words)]
    if not told.conditions:
        lines.append("no operator has looked at it yet: libresh logs operator")
    lines += ["", title("TO CHANGE")]
    texts = [f"{each.parameter}: {each.verdict}; {each.words}" for each in told.changes]
    lines += [line for text in texts for _, line in fold(text)]
    return [*lines, *render_swap(told.swap)]


def title(text: str) -> str:
    return paint(text, "white", bold=True)


def fold(text: str) -> Iterator[tuple[bool, str]]:
    """A long text as lines that fit a screen, the first one marked; words stay whole, to be copied."""
    indent = text[: len(text) - len(text.lstrip())]
    folded = textwrap.wrap(text, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    return ((number == 0, line) for number, line in enumerate(folded))


def render_difference(each: Difference) -> str:
    return f"  {each.parameter}: {spelled(each.claim)} here, {spelled(each.cls)} in the class now"


def spelled(value: Any) -> str:
    """A parameter as it is written."""
    return "not set" if value is None else value if isinstance(value, str) else msgspec.json.encode(value).decode()


def render_connection(connection: Connection) -> str:
    note = f"; {connection.note}" if connection.note else ""
    if connection.exists is None:
        return f"{connection.secret}: {connection.note}"
    if not connection.exists:
        return f"{connection.secret} does not exist{note}"
    lacks = f"; lacks {', '.join(connection.lacks)}" if connection.lacks else ""
    return f"{connection.secret} has {', '.join(connection.has) or 'no published key'}{lacks}{note}"


def render_swap(swap: Swap) -> list[str]:
    """What another class would take."""
    lines = ["", title("TO SWAP")]
    lines += [line for text in (swap.now, swap.data) for _, line in fold(f"{text[:1].upper()}{text[1:]}.")]
    if swap.classes is None:
        return [*lines, f"which classes there are cannot be told: {NOT_LISTED}"]
    if not swap.classes:
        return [*lines, "there is no other class for this kind of claim: make one first (see libresh class check)"]
    lines += [f"{number}. {step}" for number, step in enumerate(swap.steps, 1)]
    header = ("CLASS", "DRIVER", "DEFAULT", "CAN", "MORE", "LESS", "NOW")
    return [*lines, "", *output.build_table(header, [render_alternative(each) for each in swap.classes])]


def render_alternative(each: Alternative) -> Sequence[str]:
    words = (", ".join(found) or "-" for found in (each.capabilities, each.gains, each.loses))
    return each.name, each.driver, "yes" if each.default else "-", *words, each.obstacle or "can serve"
