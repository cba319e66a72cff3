"""Writes Secrets whose values nobody but this module sees: made once, kept, copied, hashed, filled into text."""

import base64
import hashlib
import logging
import math
import re
import secrets
import string
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

import msgspec

from libresh.api.meta import ObjectMeta
from libresh.errors import Conflict, LibreshError
from libresh.kube import crypt
from libresh.kube.cluster import Cluster
from libresh.kube.compare import difference
from libresh.kube.errors import Pending
from libresh.kube.objects import Entry
from libresh.kube.reader import PassReader
from libresh.kube.views import SECRET
from libresh.plan import naming
from libresh.plan.actions import From, Hashed, Literal, Mint, Object, PublicPart, Random, SecretKey, Template, Value

log = logging.getLogger(__name__)

WAITING_FOR_SECRET = "WaitingForSecret"
MARK = "libre.sh/minted"
"""Annotation: a salted digest of the wish, the sources and the values. While it fits, nothing need be worked out anew
(least of all slow hashes, at every start of the operator)."""
UNGUESSABLE = 24
REMEMBERED = 20_000
ALPHANUMERIC = string.ascii_letters + string.digits
PLACE = re.compile(r"\$(\$)\{|\$\{([^}]*)\}")

Data = dict[str, bytes]
Check = Callable[[ObjectMeta], None]


def plain(value: Any) -> Any:
    """Lets any mapping be encoded."""
    if isinstance(value, Mapping):
        return dict(value)
    raise NotImplementedError(type(value).__name__)


CANONICAL = msgspec.json.Encoder(order="deterministic", enc_hook=plain)


def fresh_value(wish: Random) -> bytes:
    """A new secret in the form that is asked for, with at least `wish.bytes` bytes of chance in it."""
    match wish.form:
        case "hex":
            return secrets.token_hex(wish.bytes).encode()
        case "base64":
            return base64.b64encode(secrets.token_bytes(wish.bytes))
        case "alphanumeric":
            length = math.ceil(wish.bytes * 8 / math.log2(len(ALPHANUMERIC)))
            return "".join(secrets.choice(ALPHANUMERIC) for _ in range(length)).encode()
        case "synapse-signing-key":
            version = "".join(secrets.choice(ALPHANUMERIC) for _ in range(4))
            key = base64.b64encode(secrets.token_bytes(32)).decode().rstrip("=")
            return f"ed25519 a_{version} {key}".encode()
        case "rsa-key":
            from libresh.kube import keys  # heavy, and few classes sign anything

            return keys.new_rsa_key()
    raise LibreshError("secret-form", f"There is no form of secret called {wish.form}")


UNPRINTABLE = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
"""What JSON may hold and YAML may not."""


def quoted(value: str, style: str) -> str:
    """A value made safe for the place it stands in."""
    match style:
        case "":
            return value
        case "url":
            return quote(value, safe="")
        case "yaml":
            return UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", msgspec.json.encode(value).decode())
        case "pgpass":
            return value.replace("\\", "\\\\").replace(":", "\\:")
    raise LibreshError("secret-quote", f"There is no way of quoting called {style}")


def filled(text: str, values: Mapping[str, str], style: str) -> str:
    """The text with its places filled."""

    def fill(match: re.Match[str]) -> str:
        if match[1]:
            return "${"
        if match[2] not in values:
            raise LibreshError("template-place", f"A template has a place ${{{match[2]}}} without a value")
        return quoted(values[match[2]], style)

    return PLACE.sub(fill, text)


def sources_of(values: Mapping[str, Value]) -> list[tuple[str, str]]:
    """The other Secrets (namespace, name) that values are taken from, sorted."""
    found: set[tuple[str, str]] = set()
    for value in values.values():
        match value:
            case From(source=place) | Hashed(key=SecretKey() as place):
                found.add((place.namespace, place.name))
            case Template(values=places):
                found |= {(place.namespace, place.name) for place in places.values() if isinstance(place, SecretKey)}
    return sorted(found)


class Minter:
    """Writes Secrets."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.client = cluster.client
        self._key = secrets.token_bytes(32)
        self._fitting: set[bytes] = set()

    async def mint(self, wish: Mint, reader: PassReader, check: Check) -> bool:
        """Makes the Secret what it should be. Says whether anything had to be written."""
        ref = wish.ref
        cache = self.cluster.cache("Secret")
        entry = cache.get(ref.namespace, ref.name)
        wanted = await self._digest(wish, reader)
        if entry is not None and entry.verified == wanted:
            return False
        if entry is None:
            # Never make new values because a cache is behind or a label was taken off: look at the truth first.
            body = await self.client.read("Secret", ref.name, ref.namespace)
            entry = None if body is None else cache.shape.entry(body)
            if entry is not None:
                self.cluster.foreign.forget(("Secret", ref.namespace, ref.name))  # it is not absent any more
        else:
            entry = await self.cluster.whole("Secret", entry)
        metadata = with_label(wish.metadata)
        live = data_of(entry)
        known = cache.get(ref.namespace, ref.name)
        if entry is not None:
            check(entry.meta)
            if known is not None and is_marked(entry, wanted, live) and is_like(entry, wish, metadata):
                known.verified = wanted
                return False
        values = Values(self, wish, live, reader)
        data = await values.all()
        if known is not None and data == live and is_like(known, wish, metadata):
            known.verified = wanted
            return False
        if not values.weak:
            metadata = with_mark(metadata, wanted, data)
        await self._write(wish, metadata, data, entry, wanted)
        return True

    async def _digest(self, wish: Mint, reader: PassReader) -> str:
        """Names this wish together with the state of the Secrets it takes values from."""
        states = []
        for namespace, name in sources_of(wish.values):
            view = await reader.secret(namespace, name)
            states.append((namespace, name, view.metadata.uid if view else "", view.digest if view else ""))
        encoded = CANONICAL.encode([wish.metadata, wish.type, wish.values, states])
        return hashlib.blake2b(encoded, digest_size=16).hexdigest()

    async def _write(self, wish: Mint, metadata: Object, data: Data, entry: Entry | None, wanted: str) -> None:
        ref = wish.ref
        if entry is not None:
            # A value that somebody put back meanwhile must not be lost: apply to just the version that was read.
            metadata = {**metadata, "resourceVersion": entry.meta.resource_version}
        encoded = {key: base64.b64encode(value).decode() for key, value in sorted(data.items())}
        body = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": wish.type, "data": encoded}
        try:
            answer = await self.client.apply_raw("Secret", ref.name, ref.namespace, msgspec.json.encode(body))
            extra = sorted(set(data_of(self.cluster.cache("Secret").shape.entry(answer))) - set(data))
            if extra:
                patch = {"data": dict.fromkeys(extra)}
                answer = await self.client.patch_raw("Secret", ref.name, ref.namespace, patch)
        except Conflict:
            await self.cluster.refresh_object("Secret", ref.namespace, ref.name)
            raise
        self.cluster.learn("Secret", answer)
        known = self.cluster.cache("Secret").get(ref.namespace, ref.name)
        if known is not None:
            known.verified = wanted
        log.info("wrote %s with the keys %s", ref, ", ".join(sorted(data)))

    def fits(self, password: str, hashed: str) -> bool:
        """Whether a hash is that of a password; what fitted once in this process is remembered, under a random key."""
        name = hashlib.blake2b(f"{hashed}\0{password}".encode(), key=self._key, digest_size=16).digest()
        if name in self._fitting:
            return True
        found = crypt.fits(password, hashed)
        if found:
            if len(self._fitting) >= REMEMBERED:
                self._fitting.clear()
            self._fitting.add(name)
        return found

    async def values_of(self, namespace: str, name: str) -> Data:
        """The values of any Secret; none where there is none. Read from the API server where it is not ours."""
        entry = self.cluster.cache("Secret").get(namespace, name)
        if entry is not None:
            entry = await self.cluster.whole("Secret", entry)
        else:
            body = await self.client.read("Secret", name, namespace)
            entry = None if body is None else self.cluster.cache("Secret").shape.entry(body)
        return data_of(entry)


class Values:
    """Works out the values of one Secret; values may be made of one another."""

    def __init__(self, minter: Minter, wish: Mint, live: Data, reader: PassReader) -> None:
        self.minter = minter
        self.wish = wish
        self.live = live
        self.reader = reader
        self.done: Data = {}
        self.sources: dict[tuple[str, str], Data] = {}
        self.weak = False
        """Whether a value is hashed that might be guessed: nothing faster to try than that hash may be shown."""
        self.open: list[str] = []

    async def all(self) -> Data:
        for key in self.wish.values:
            await self.value(key)
        return self.done

    async def value(self, key: str) -> bytes:
        if key in self.done:
            return self.done[key]
        if key in self.open or key not in self.wish.values:
            trouble = "is made of itself" if key in self.open else "is asked for and not among the values"
            raise LibreshError("secret-values", f"{self.wish.ref}: the key {key} {trouble}")
        self.open.append(key)
        self.done[key] = await self._make(key, self.wish.values[key])
        self.open.pop()
        return self.done[key]

    async def _make(self, key: str, wish: Value) -> bytes:
        match wish:
            case Literal(value=value):
                return value.encode()
            case Random():
                return await self._random(key, wish)
            case From(source=source):
                return await self._source(source)
            case Hashed(key=place):
                return self._hash(key, await self.value_at(place))
            case PublicPart(key=place, text=text):
                return filled(text, {"key": self._public(await self.value(place))}, "").encode()
            case Template():
                return await self._fill(key, wish)

    async def _random(self, key: str, wish: Random) -> bytes:
        if key in self.live:
            return self.live[key]
        for source in wish.recover:
            found = await self._look(source)
            if found is not None:
                log.info(
                    "%s: the key %s comes back from Secret %s/%s", self.wish.ref, key, source.namespace, source.name
                )
                return found
        return fresh_value(wish)

    async def _look(self, source: SecretKey) -> bytes | None:
        place = (source.namespace, source.name)
        if place not in self.sources:
            self.sources[place] = await self.minter.values_of(*place)
        return self.sources[place].get(source.key)

    async def _source(self, source: SecretKey) -> bytes:
        found = await self._look(source)
        if found is None:
            raise Pending(
                WAITING_FOR_SECRET, f"Waiting for the key {source.key} of Secret {source.namespace}/{source.name}"
            )
        return found

    async def value_at(self, place: str | SecretKey) -> bytes:
        """A value of this Secret or of another."""
        return await (self._source(place) if isinstance(place, SecretKey) else self.value(place))

    def _hash(self, key: str, value: bytes) -> bytes:
        strong = len(value) >= UNGUESSABLE
        self.weak = self.weak or not strong
        password = value.decode()
        known = self.live.get(key, b"").decode("utf-8", "replace")
        if known and self.minter.fits(password, known):
            return known.encode()
        # Many rounds make guessing slow: what cannot be guessed needs none, and thousands of accounts are made fast.
        made = crypt.new_hash(password, crypt.LEAST_ROUNDS if strong else None)
        return made.encode()

    def _public(self, pem: bytes) -> str:
        from libresh.kube import keys  # heavy, and few classes sign anything

        try:
            return keys.public_part(pem)
        except ValueError as error:
            way_out = "delete that key of the Secret: a new one is made"
            raise LibreshError("secret-values", f"{self.wish.ref}: {error}", way_out) from None

    async def _fill(self, key: str, wish: Template) -> bytes:
        texts: dict[str, str] = {}
        for name, place in wish.values.items():
            value = await self.value_at(place)
            try:
                texts[name] = value.decode()
            except UnicodeDecodeError:
                raise LibreshError(
                    "secret-values", f"{self.wish.ref}: the value for {name} in {key} is not text"
                ) from None
        return filled(wish.text, texts, wish.quote).encode()


def data_of(entry: Entry | None) -> Data:
    """A Secret's values."""
    if entry is None or entry.body is None:
        return {}
    data = SECRET.decode(entry.body).data or {}
    return {key: base64.b64decode(value) for key, value in data.items()}


def with_label(metadata: Object) -> Object:
    """The metadata with the label by which our cache finds it again."""
    return {**metadata, "labels": {**(metadata.get("labels") or {}), naming.MANAGED_LABEL: naming.MANAGED_BY}}


def is_like(entry: Entry, wish: Mint, metadata: Object) -> bool:
    """Whether type and metadata of a Secret are as wished."""
    same_type = SECRET.decode(entry.body or b"{}").type == wish.type
    return same_type and difference(metadata, msgspec.to_builtins(entry.meta)) is None


def mark_of(salt: str, wanted: str, data: Data) -> str:
    encoded = CANONICAL.encode([wanted, {key: base64.b64encode(value).decode() for key, value in data.items()}])
    return salt + "." + hashlib.blake2b(encoded, digest_size=16, key=salt.encode()).hexdigest()


def with_mark(metadata: Object, wanted: str, data: Data) -> Object:
    """The metadata with a mark by which this state is known again."""
    mark = mark_of(secrets.token_hex(8), wanted, data)
    return {**metadata, "annotations": {**(metadata.get("annotations") or {}), MARK: mark}}


def is_marked(entry: Entry, wanted: str, data: Data) -> bool:
    """Whether the mark says that these values are what is wished for."""
    mark = entry.meta.annotations.get(MARK, "")
    salt = mark.partition(".")[0]
    return bool(salt) and secrets.compare_digest(mark.encode(), mark_of(salt, wanted, data).encode())
