"""What may be shown of a Secret, and how little is kept of Secrets that are not ours."""

import hashlib
import hmac
from typing import cast

import msgspec

from libresh.api.meta import ObjectMeta
from libresh.kube.objects import CANONICAL, Entry, owner_uid
from libresh.ports import SecretView


class SecretBody(msgspec.Struct, gc=False):
    """A Secret without its metadata, as stored; or, where it was trimmed, its `view`."""

    type: str = "Opaque"
    data: dict[str, str] | None = None
    view: "Trimmed | None" = None
    immutable: bool | None = None


class Trimmed(msgspec.Struct, gc=False):
    """What stays of a Secret that is watched but not ours."""

    keys: list[str] = []
    digest: str = ""


FEW = 20
"""How many keys a Secret has that belongs to one owner."""
SECRET = msgspec.json.Decoder(SecretBody)


def digest_of(meta: ObjectMeta, data: dict[str, str]) -> str:
    """Changes when a value changes, but not when a Secret of ours is deleted and comes back with the same values."""
    key = owner_uid(meta) or meta.uid
    return hmac.new(key.encode(), CANONICAL.encode(data), hashlib.sha256).hexdigest()[:32]


def secret_view(entry: Entry) -> SecretView:
    """The view of a cached Secret, trimmed or whole. Of a large one it is kept: many share it."""
    if entry.view is not None:
        return cast(SecretView, entry.view)
    body = SECRET.decode(entry.body or b"{}")
    if body.view is not None:
        return SecretView(entry.meta, body.type, frozenset(body.view.keys), body.view.digest)
    data = body.data or {}
    view = SecretView(entry.meta, body.type, frozenset(data), digest_of(entry.meta, data))
    if len(data) > FEW:
        entry.view = view
    return view


def trim_secret(entry: Entry) -> Entry:
    """The same Secret without its values."""
    body = SECRET.decode(entry.body or b"{}")
    data = body.data or {}
    trimmed = SecretBody(type=body.type, view=Trimmed(sorted(data), digest_of(entry.meta, data)))
    return Entry(entry.meta, msgspec.json.encode(trimmed), entry.version)
