"""What a Secret holds, as a person may be told: which keys, never their values."""

from collections.abc import Iterable

from libresh.errors import LibreshError
from libresh.kube.client import Client
from libresh.kube.errors import Refused
from libresh.kube.objects import Shape
from libresh.kube.views import secret_view
from libresh.plan.actions import Ref
from libresh.ports import SecretView

HIDDEN = 403


async def look(client: Client, name: str, namespace: str) -> SecretView | None:
    """A Secret's keys, or None if there is no such Secret. Refused where this person may not read it."""
    body = await client.read("Secret", name, namespace)
    return None if body is None else secret_view(Shape(client.kinds["Secret"]).entry(body))


async def look_at_all(client: Client, refs: Iterable[Ref]) -> tuple[dict[Ref, SecretView | None], tuple[Ref, ...]]:
    """The Secrets that could be looked at, and those this person may not read."""
    found: dict[Ref, SecretView | None] = {}
    hidden = []
    for ref in refs:
        try:
            found[ref] = await look(client, ref.name, ref.namespace)
        except Refused as error:
            if error.code != HIDDEN:
                raise
            hidden.append(ref)
        except LibreshError as error:
            if error.reference != "bad-name":
                raise
            found[ref] = None  # no Secret can have that name
    return found, tuple(hidden)
