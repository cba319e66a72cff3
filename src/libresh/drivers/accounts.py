"""What drivers share that make an account for each claim on a server somebody else runs: its password, its rotation,
and what is on record of it.

    password minted ──> errand: account made with it ──> on record ──> published
         new key minted ──> errand: both are let in where the server can ──> on record ──> published ──> old key dropped

The credentials Secret is the record: its annotation says which of its keys the server was told of, and by which errand.
A password that is published is therefore one that works.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, Literal

import msgspec

from libresh.api.claims import Claim
from libresh.drivers import authorities, errands
from libresh.drivers.authorities import Authority, Name
from libresh.drivers.children import Children
from libresh.drivers.errands import Errand
from libresh.drivers.model import Ask, Provision, Seen, Withdrawal
from libresh.plan import naming
from libresh.plan.actions import Action, From, Mint, Random, Ref, SecretKey, Theirs, Value
from libresh.plan.decision import Outcome, Settled, Stalled, Waiting
from libresh.ports import SecretView, Watched

ROTATE = "services.libre.sh/rotate"
"""The annotation of a claim that asks for a new password: whenever its text is another one."""
PASSWORD = "password"
ADMIN_KEYS = ("username", "password")
AT_ONCE = timedelta(0)

ADMIN_MISSING = "AdministratorMissing"
ROTATING = "Rotating"
PREPARING = "Preparing"

HOST = r"^([A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?|[0-9a-fA-F:]+)$"
Host = Annotated[str, msgspec.Meta(min_length=1, max_length=253, pattern=HOST)]
Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]
Prefix = Annotated[str, msgspec.Meta(max_length=20, pattern=r"^([a-z][a-z0-9_]*)?$")]
Tls = Literal["disable", "require", "verify-full"]


class AdminSecret(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """A Secret with what somebody logs in with who may make accounts: `username` and `password`, unless the driver
    says otherwise."""

    name: Name
    namespace: Name = naming.SYSTEM_NAMESPACE


class Administered(msgspec.Struct, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """Parameters of every class whose claims are accounts that an administrator makes on somebody else's server."""

    ca_ref: Authority | None = None
    """The authorities of the server's certificate, where it is checked. Absent: the public ones."""
    admin_secret_ref: AdminSecret
    """The administrator's credentials."""
    name_prefix: Prefix = ""
    """Begins every name on the server: where several clusters use one server, each has its own."""


class Server(Administered, kw_only=True):
    """The same where the server is named by its host, and its port by the driver."""

    host: Host
    """The name or address by which pods reach the server."""
    tls: Tls = "verify-full"
    """`disable`, `require` (encrypted, whoever answers), or `verify-full`: the certificate must be the host's."""

    def __post_init__(self) -> None:
        if self.ca_ref is not None and self.tls != "verify-full":
            raise ValueError("caRef is only looked at with tls: verify-full; set that, or leave caRef out")


@dataclass(frozen=True)
class Account:
    """One claim's account: how it is made on the server, and what is told of it."""

    ask: Ask
    names: Children
    program: str
    host: str
    port: int
    order: Mapping[str, Any]
    """What is wanted, without the server's place and without passwords."""
    connect: Callable[[SecretKey], dict[str, Value]]
    """The connection secret, with the password of that place."""
    published: str = PASSWORD
    """The key of the connection secret that has the password."""
    logins: tuple[tuple[str, ...], ...] = (ADMIN_KEYS,)
    """The keys the administrator's Secret may have: all of one of these."""

    @property
    def claim(self) -> Claim:
        return self.ask.claim

    @property
    def server(self) -> Administered:
        server: Administered = self.ask.parameters
        return server

    @property
    def credentials(self) -> Ref:
        return self.names.ref("Secret", "credentials")

    @property
    def kept(self) -> tuple[Ref, ...]:
        return (self.credentials,)

    @property
    def admin(self) -> Theirs:
        reference = self.server.admin_secret_ref
        return Theirs("Secret", reference.name, reference.namespace)

    @property
    def looks_at(self) -> tuple[Ref, ...]:
        return (self.credentials, self.admin, *authorities.refs_of(self.server.ca_ref))

    def login(self, seen: Seen) -> tuple[str, ...]:
        """The keys that the administrator logs in with, () where none of the ways is complete."""
        secret = seen.secret(self.admin)
        there = secret.keys if secret else frozenset()
        return next((keys for keys in self.logins if there.issuperset(keys)), ())

    def key(self, name: str) -> SecretKey:
        """A key of the credentials."""
        return SecretKey(self.credentials.namespace, self.credentials.name, name)

    def mint(self, keys: tuple[str, ...], record: str) -> Mint:
        """The passwords, each made once, and what is on record of them. A lost one comes back from the connection."""
        published = SecretKey(self.claim.namespace, self.claim.connection_secret, self.published)
        recover = () if record else (published,)
        metadata = self.names.kept("credentials")
        if record:
            metadata["annotations"] = {naming.DONE_ANNOTATION: record}
        return Mint(metadata, {key: Random(recover=recover) for key in keys})

    def errand(self, task: str, seen: Seen, keys: tuple[str, ...] = (), state: str = "") -> Errand:
        """What is done on the server. `keys`: the passwords that are to be let in, the published-to-be last."""
        order = {
            **self.order,
            "host": self.host,
            "port": self.port,
            "cluster": self.ask.settings.cluster,
            "for": f"{self.claim.KIND.kind} {self.claim.namespace}/{self.claim.name}",
            "passwords": list(keys),
        }
        secrets: dict[str, Value] = {
            f"admin-{key}": From(SecretKey(self.admin.namespace, self.admin.name, key))
            for key in self.login(seen) or self.logins[0]
        }
        secrets |= {key: From(self.key(key)) for key in keys}
        if authority := authorities.value_of(self.server.ca_ref, seen):
            secrets["ca.crt"] = authority
        return Errand(self.ask, self.program, task, self.host, self.port, order, secrets, state)


class AccountDriver(ABC):
    """What all drivers are whose claims are accounts. Each says its kind, its parameters, and what an account is."""

    name = "external"
    claim_kind: str
    parameters: type[Administered]
    watches = (*errands.WATCHES, Watched("ConfigMap"))

    @abstractmethod
    def account_of(self, ask: Ask) -> Account:
        """The account of one claim."""

    def capabilities(self, parameters: Any) -> tuple[str, ...]:
        """Passwords are made here. What else the server can do is not known."""
        return ("rotate",)

    def refuse(self, ask: Ask) -> Stalled | None:
        """What the server has is known when it was asked."""
        return None

    def looks_at(self, ask: Ask) -> tuple[Ref, ...]:
        return self.account_of(ask).looks_at

    def plan(self, ask: Ask, seen: Seen) -> Provision:
        return provide(self.account_of(ask), seen)

    def withdraw(self, ask: Ask, seen: Seen) -> Withdrawal:
        account = self.account_of(ask)
        missing = missing_part(account, seen, ready=False)
        return errands.withdraw(account.errand("remove", seen), seen, record=account.credentials, missing=missing)


def written_host(host: str) -> str:
    """A host as it is written in an address."""
    return f"[{host}]" if ":" in host else host


# --- provide -----------------------------------------------------------------------------------------------------


def provide(account: Account, seen: Seen) -> Provision:
    """The account as it should be, and how it stands."""
    instance = f"{account.host}:{account.port}"
    view = seen.secret(account.credentials)
    record = record_of(view)
    known = record.partition("/")[0]
    ready = bool(known) and account.claim.status.binding is not None
    if missing := missing_part(account, seen, ready=ready):
        return Provision(missing, instance=instance, kept=account.kept)
    keys = wanted_keys(account.claim, known)
    outcome, actions, record = tell(account, seen, keys, record, ready=ready)
    known = record.partition("/")[0]
    connection = account.connect(account.key(known)) if known else None
    if connection is not None and (authority := authorities.value_of(account.server.ca_ref, seen)):
        connection["ca.crt"] = authority
    return Provision(outcome, (account.mint(keys, record), *actions), connection, instance, account.kept)


def tell(
    account: Account, seen: Seen, keys: tuple[str, ...], record: str, *, ready: bool
) -> tuple[Outcome, tuple[Action, ...], str]:
    """Tells the server of the account, unless it was told: how that stands, what it takes, what is then on record."""
    view = seen.secret(account.credentials)
    if view is None or passwords_of(view) != set(keys):
        # They have no owner, so that nothing brings the claim back when this pass has written them.
        return Waiting(PREPARING, "The credentials are being made", AT_ONCE, ready), (), record
    errand = account.errand("provide", seen, keys, view.digest)
    told = f"{keys[-1]}/{errand.digest}"
    if record == told:
        return Settled(f"{errand.server} has the account"), (), record
    course = errands.run(errand, seen, ready=ready)
    if not course.done:
        # Once begun an errand may have had its effect, whoever ends it: what was told before may be so no more.
        return course.outcome, course.actions, unsure(record)
    if len(keys) > 1:
        return Waiting(ROTATING, "The new password is being published", AT_ONCE, ready), (), told
    return Settled(f"{errand.server} has the account"), (), told


def record_of(view: SecretView | None) -> str:
    """What is on record of the credentials: `<key>/<errand>`; "" where that key is gone."""
    record = view.metadata.annotations.get(naming.DONE_ANNOTATION, "") if view else ""
    return record if view and record.partition("/")[0] in view.keys else ""


def unsure(record: str) -> str:
    """The record while a later errand may have told the server something else: the key is the published one still."""
    key, separator, _ = record.partition("/")
    return key + separator


def passwords_of(view: SecretView) -> set[str]:
    return {key for key in view.keys if key == PASSWORD or key.startswith(f"{PASSWORD}-")}


def wanted_keys(claim: Claim, known: str) -> tuple[str, ...]:
    """The key that is published, and after it the one that is to be, where another is asked for."""
    text = claim.metadata.annotations.get(ROTATE)
    wanted = (known or PASSWORD) if text is None else f"{PASSWORD}-{naming.digest_of(text)}"
    return tuple(dict.fromkeys(key for key in (known, wanted) if key))


def missing_part(account: Account, seen: Seen, *, ready: bool) -> Outcome | None:
    """What the cluster's operator has not provided. While the account works nobody needs the administrator."""
    class_name = account.ask.class_name
    if not ready and not account.login(seen):
        wanted = ", or ".join(" and ".join(keys) for keys in account.logins)
        return Waiting(
            ADMIN_MISSING,
            f"ServiceClass {class_name}: spec.parameters.adminSecretRef: there is no Secret {account.admin.namespace}/"
            f"{account.admin.name} with the keys {wanted}; make it",
        )
    return authorities.missing(account.server.ca_ref, class_name, seen, ready=ready)
