"""Bucket on any S3 that somebody else runs: a bucket for each claim, and a key that opens this bucket alone.

What is done on the server, and how it is found out what that server can do, is in
`build/images/errand/libresh_errand/s3.py`. Keys are the server's to choose, so the errand gives them back.
"""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import msgspec

from libresh.api.changes import STORAGE, Change
from libresh.api.objectstore import Bucket
from libresh.drivers import authorities, errands, given
from libresh.drivers.accounts import ADMIN_MISSING, written_host
from libresh.drivers.authorities import Authority, Name
from libresh.drivers.children import Children
from libresh.drivers.connection import TYPES
from libresh.drivers.errands import Errand
from libresh.drivers.given import Given
from libresh.drivers.model import Ask, Provision, Seen, Withdrawal
from libresh.plan import naming
from libresh.plan.actions import From, Ref, SecretKey, Template, Theirs, Value
from libresh.plan.actions import Literal as Plain
from libresh.plan.decision import Outcome, Stalled, Waiting
from libresh.ports import Watched

PARTS = ("access-key-id", "secret-access-key")
NAME_LIMIT = 63
"""What a bucket's name may be long."""
READABLE = 46

ADDRESS = r"^https?://([A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?|\[[0-9a-fA-F:]+\])(:[0-9]{1,5})?/?$"
Address = Annotated[str, msgspec.Meta(max_length=300, pattern=ADDRESS)]
Region = Annotated[str, msgspec.Meta(min_length=1, max_length=64, pattern=r"^[-a-zA-Z0-9]+$")]
Prefix = Annotated[str, msgspec.Meta(max_length=20, pattern=r"^([a-z0-9][-a-z0-9]*)?$")]
Days = Annotated[int, msgspec.Meta(ge=1, le=3650)]
ORIGIN = r"^(\*|https?://(\*\.)?[A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?(:[0-9]{1,5})?)$"
Origin = Annotated[str, msgspec.Meta(max_length=300, pattern=ORIGIN)]


class KeySecret(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """A Secret with the keys `access-key-id` and `secret-access-key` of somebody who may make buckets and users."""

    name: Name
    namespace: Name = naming.SYSTEM_NAMESPACE


class Iam(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """Where users and keys are made, where that is another address."""

    endpoint: Address
    region: Region = "us-east-1"


class Lifecycle(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """What goes by itself after some days."""

    abort_uploads_after: Days | None = None
    """Parts of uploads that were begun and never ended."""
    expire_noncurrent_after: Days | None = None
    """Older versions of objects, in buckets with versioning."""

    def __post_init__(self) -> None:
        if self.abort_uploads_after is None and self.expire_noncurrent_after is None:
            raise ValueError("lifecycle says nothing: set abortUploadsAfter or expireNoncurrentAfter, or leave it out")


class Parameters(msgspec.Struct, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """Parameters of a class with this driver."""

    endpoint: Address
    """The server's address as pods reach it, http:// or https://."""
    region: Region = "us-east-1"
    """The region requests are signed for, and in which buckets are made."""
    path_style: bool = True
    """Whether the bucket's name comes after the host. Where it must come before it: false."""
    iam: Iam | None = None
    """Absent: the server itself answers, as Ceph's does."""
    ca_ref: Authority | None = None
    """The authorities of the server's certificate. Absent: the public ones."""
    admin_secret_ref: KeySecret
    """The key by which buckets and users are made."""
    name_prefix: Prefix = ""
    """Begins every name on the server: where several clusters use one server, each has its own."""
    keys: Literal["own", "shared"] = "own"
    """`own`: a user for each claim, whose key opens its bucket alone. `shared`: every claim gets the class's own key,
    for servers that make no users; whoever has it reaches all that this key opens."""
    lifecycle: Lifecycle | None = None
    cors_origins: Annotated[list[Origin], msgspec.Meta(max_length=50)] = []
    """The web pages whose scripts may read and write the buckets, as `https://files.example.org`."""

    def __post_init__(self) -> None:
        addresses = [self.endpoint, *([self.iam.endpoint] if self.iam else [])]
        for address in addresses:
            if (number := split(address).port) is not None and not 1 <= number <= 65535:
                raise ValueError(f"{address}: there is no such port")
        if self.ca_ref is not None and not any(address.startswith("https:") for address in addresses):
            raise ValueError("caRef is only looked at where an endpoint is https; leave it out, or write https://")
        if self.iam is not None and self.keys == "shared":
            raise ValueError("iam is where keys: own are made; with keys: shared leave it out")


class S3Bucket:
    """Serves Bucket claims on one S3 server that somebody else runs."""

    name = "s3"
    claim_kind = "Bucket"
    parameters = Parameters
    watches = (*errands.GIVING_WATCHES, Watched("ConfigMap"))
    changes = (
        STORAGE.told_otherwise("nothing follows: the room is the server's"),
        Change("versioning", "allowed", "from then on versions are kept, or no more are; a server that cannot refuses"),
    )

    def capabilities(self, parameters: Any) -> tuple[str, ...]:
        """What the server can do is found out when it is asked, and told of each claim."""
        return ("rotate",) if parameters.keys == "own" else ()

    def refuse(self, ask: Ask) -> Stalled | None:
        """What the server has is known when it was asked."""
        return None

    def looks_at(self, ask: Ask) -> tuple[Ref, ...]:
        own = names_of(ask).ref("Secret", "credentials")
        return (own, admin_of(ask), *authorities.refs_of(ask.parameters.ca_ref))

    def plan(self, ask: Ask, seen: Seen) -> Provision:
        return given.provide(given_of(ask, seen), seen, lambda ready: missing_part(ask, seen, ready=ready))

    def withdraw(self, ask: Ask, seen: Seen) -> Withdrawal:
        return given.withdraw(given_of(ask, seen), seen, lambda ready: missing_part(ask, seen, ready=ready))


def names_of(ask: Ask) -> Children:
    return Children(ask.claim, "s3", "s3")


def bucket_name(ask: Ask) -> str:
    """The name of a claim's bucket, and of its user: readable, and no other claim's whatever these are called."""
    claim = ask.claim
    readable = f"{ask.parameters.name_prefix}{claim.namespace}-{claim.name}"[:READABLE].rstrip("-")
    return f"{readable}-{naming.digest_of(claim.namespace, claim.name)[: NAME_LIMIT - READABLE - 1]}"


def split(address: str) -> Any:
    try:
        found = urlsplit(address)
        assert found.port is None or found.port
    except (ValueError, AssertionError):
        raise ValueError(f"{address}: there is no such port") from None
    return found


def port_of(address: str) -> int:
    found = split(address)
    return int(found.port or (443 if found.scheme == "https" else 80))


def given_of(ask: Ask, seen: Seen) -> Given:
    """The key of a claim, and how the server is asked for it."""
    parameters = ask.parameters
    instance = f"{parameters.endpoint.rstrip('/')}/{bucket_name(ask)}"

    def errand(task: str, editions: tuple[str, ...], files: Mapping[str, Value]) -> Errand:
        return errand_of(ask, seen, task, editions, files)

    def connect(key: Callable[[str], SecretKey]) -> dict[str, Value]:
        return connection_of(ask, key, authorities.value_of(ask.parameters.ca_ref, seen))

    return Given(ask, names_of(ask), PARTS, errand, connect, instance)


def errand_of(ask: Ask, seen: Seen, task: str, editions: tuple[str, ...], files: Mapping[str, Value]) -> Errand:
    """What is done on the server: for these editions of the key, the one to be published last."""
    claim, parameters, admin = ask.claim, ask.parameters, admin_of(ask)
    assert isinstance(claim, Bucket)
    found = split(parameters.endpoint)
    host, port = str(found.hostname), port_of(parameters.endpoint)
    order = {
        "host": host,
        "port": port,
        "endpoint": parameters.endpoint.rstrip("/"),
        "region": parameters.region,
        "pathStyle": parameters.path_style,
        "iam": msgspec.to_builtins(parameters.iam),
        "for": f"{claim.KIND.kind} {claim.namespace}/{claim.name}",
        "cluster": ask.settings.cluster,
        "class": ask.class_name,
        "bucket": bucket_name(ask),
        "keys": parameters.keys,
        "editions": list(editions),
        "versioning": claim.spec.parameters.versioning,
        "lifecycle": msgspec.to_builtins(parameters.lifecycle),
        "origins": parameters.cors_origins,
    }
    secrets: dict[str, Value] = {f"admin-{part}": From(SecretKey(admin.namespace, admin.name, part)) for part in PARTS}
    secrets |= files
    if authority := authorities.value_of(parameters.ca_ref, seen):
        secrets["ca.crt"] = authority
    # A key that is handed out is handed out anew when it is another one.
    view = seen.secret(admin)
    state = view.digest if view and parameters.keys == "shared" else ""
    gives = names_of(ask).ref("Secret", "credentials") if task == "provide" else None
    also = (port_of(parameters.iam.endpoint),) if parameters.iam else ()
    return Errand(ask, "s3", task, host, port, order, secrets, state, gives, also)


def connection_of(ask: Ask, key: Callable[[str], SecretKey], authority: Value | None) -> dict[str, Value]:
    """The connection secret, as published for every Bucket."""
    parameters, bucket = ask.parameters, bucket_name(ask)
    found = split(parameters.endpoint)
    host, port = written_host(str(found.hostname)), port_of(parameters.endpoint)
    values: dict[str, Value] = {
        "type": Plain(TYPES["Bucket"]),
        "provider": Plain("s3"),
        "host": Plain(str(found.hostname)),
        "port": Plain(str(port)),
        "endpoint": Plain(parameters.endpoint.rstrip("/")),
        "region": Plain(parameters.region),
        "bucket": Plain(bucket),
        "access-key-id": From(key("access-key-id")),
        "secret-access-key": From(key("secret-access-key")),
        "uri": Template(
            f"s3://${{id}}:${{secret}}@{host}:{port}/{bucket}",
            {"id": "access-key-id", "secret": "secret-access-key"},
            quote="url",
        ),
    }
    if not parameters.path_style:
        values["path-style"] = Plain("false")
    return values | {"ca.crt": authority} if authority else values


# --- what the cluster's operator provides --------------------------------------------------------------------------


def admin_of(ask: Ask) -> Theirs:
    reference = ask.parameters.admin_secret_ref
    return Theirs("Secret", reference.name, reference.namespace)


def missing_part(ask: Ask, seen: Seen, *, ready: bool) -> Outcome | None:
    """What the cluster's operator has not provided. While the key works nobody needs the administrator's."""
    admin = admin_of(ask)
    secret = seen.secret(admin)
    if not ready and (secret is None or not secret.keys.issuperset(PARTS)):
        return Waiting(
            ADMIN_MISSING,
            f"ServiceClass {ask.class_name}: spec.parameters.adminSecretRef: there is no Secret {admin.namespace}/"
            f"{admin.name} with the keys {' and '.join(PARTS)}; make it",
        )
    return authorities.missing(ask.parameters.ca_ref, ask.class_name, seen, ready=ready)


DRIVERS = (S3Bucket(),)
