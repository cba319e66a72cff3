"""SMTPAccount by Exim: one submission server for each class, an account on it for each claim.

With a smarthost the server relays to it, signed where a domain is given, and keeps what it could not deliver yet on its
volume. Without one it keeps every message for reading and delivers none: that is for trying things out, and its status
says so.

    claim: password minted ──> class: account written, server restarted with it ──> claim: ready
"""

from collections.abc import Sequence
from typing import Annotated, Any
from typing import Literal as OneOf

import msgspec

from libresh.api.claims import Claim, Quantity
from libresh.api.email import SMTPAccount
from libresh.api.services import ServiceClass
from libresh.catalog.settings import Settings
from libresh.drivers.children import Children
from libresh.drivers.connection import TYPES
from libresh.drivers.model import Ask, Provision, Seen, Server
from libresh.drivers.servers import DEADLINE, AccountServer, account_name
from libresh.plan import objects
from libresh.plan.actions import (
    Action,
    Apply,
    From,
    Hashed,
    Literal,
    Mint,
    Object,
    PublicPart,
    Random,
    Ref,
    SecretKey,
    Template,
    Theirs,
    Value,
)
from libresh.plan.decision import Stalled
from libresh.plan.observed import is_available
from libresh.ports import Watched

VERSION = "4.98"
PORT, VIEWER_PORT = 2587, 8025
HOST_NEEDED = "SmarthostCredentials"


class SmartHost(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """The server that outgoing mail is handed to."""

    host: Annotated[str, msgspec.Meta(min_length=1, max_length=253)]
    port: Annotated[int, msgspec.Meta(ge=1, le=65535)] = 587
    tls: OneOf["starttls", "tls", "none"] = "starttls"
    credentials: str | None = None
    """A Secret in the operator's namespace with the keys username and password."""


class Dkim(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """Signs what leaves, so that others can tell that it comes from the domain."""

    domain: Annotated[
        str, msgspec.Meta(pattern=r"^([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?\.)+[a-z]{2,63}$", max_length=253)
    ]
    """Messages whose From is of this domain are signed."""
    selector: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$", max_length=63)] = "libresh"
    """The name of the key in the domain's DNS."""


class Parameters(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """Parameters of a class with this driver."""

    domain: str | None = None
    """The domain claims send from that name no sender. Absent: the operator's own domain."""
    smarthost: SmartHost | None = None
    """Where mail is handed on to. Absent: it is kept for reading, and none leaves."""
    dkim: Dkim | None = None
    """Absent: nothing is signed here; most smarthosts sign themselves."""
    recipients_per_hour: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 1000
    """How many recipients each claim may send to in an hour. More are put off: a stolen password sends no flood."""
    storage: Quantity = "1Gi"
    """Room for mail that waits or is kept."""
    storage_class: str | None = None

    def __post_init__(self) -> None:
        if self.dkim and not self.smarthost:
            raise ValueError("dkim: only what is relayed is signed; set smarthost, or leave dkim out")


class EmbeddedMail:
    """Serves SMTPAccount claims with accounts on one Exim for each class."""

    name = "embedded"
    claim_kind = "SMTPAccount"
    parameters = Parameters
    watches = (
        Watched("Deployment", writes=True),
        Watched("Service", writes=True),
        Watched("PersistentVolumeClaim", writes=True),
        Watched("NetworkPolicy", writes=True),
        Watched("Secret", writes=True),
        Watched("Pod"),
    )

    def capabilities(self, parameters: Any) -> tuple[str, ...]:
        """Whether mail leaves at all."""
        return ("relay",) if parameters.smarthost else ("keep",)

    def refuse(self, ask: Ask) -> Stalled | None:
        return None

    def looks_at(self, ask: Ask) -> tuple[Ref, ...]:
        return server_of(ask.class_name, ask.settings).looks_at([ask.claim])

    def plan(self, ask: Ask, seen: Seen) -> Provision:
        names, server = children_of(ask.claim), server_of(ask.class_name, ask.settings)
        return Provision(
            outcome=server.outcome_of_account(ask, seen),
            actions=(plan_password(names),),
            connection=connection_of(ask, names),
            instance=f"{server.deployment} (Exim), account {account_name(ask.claim)}",
        )

    def server_ref(self, class_name: str, settings: Settings) -> Ref:
        return server_of(class_name, settings).deployment

    def server_looks_at(
        self, cls: ServiceClass, parameters: Any, claims: Sequence[Claim], settings: Settings
    ) -> tuple[Ref, ...]:
        relay = parameters.smarthost.credentials if parameters.smarthost else None
        extra: tuple[Ref, ...] = (Theirs("Secret", relay, settings.system_namespace),) if relay else ()
        if parameters.dkim:
            extra += (server_children(cls, settings).ref("Secret", "dkim"),)
        return (*server_of(cls.name, settings).looks_at(claims), *extra)

    def plan_server(
        self, cls: ServiceClass, parameters: Any, claims: Sequence[Claim], seen: Seen, settings: Settings
    ) -> Server:
        if stop := refuse_smarthost(cls, parameters, seen, settings):
            return Server(stop)
        names, server = server_children(cls, settings), server_of(cls.name, settings)
        known, accounts = server.claims_now(cls, claims, seen), seen.secret(server.accounts)
        actions: tuple[Action, ...] = (plan_accounts(names, parameters, known), *plan_access(names, parameters))
        if parameters.dkim:
            actions = (plan_signing_key(names), *actions)
        if accounts is not None:
            actions += (Apply(build_server(names, parameters, accounts.digest, settings)),)
        outcome = server.outcome(cls, seen, said_of(names, parameters))
        return Server(outcome, actions, name=f"{server.deployment} (Exim)")


def said_of(names: Children, parameters: Parameters) -> str:
    """What becomes of mail, for the status."""
    if not parameters.smarthost:
        return "Mail is kept for reading and not delivered: spec.parameters.smarthost is not set"
    relayed = f"Mail is relayed through {parameters.smarthost.host}"
    if not parameters.dkim:
        return relayed
    return (
        f"{relayed}, signed for {parameters.dkim.domain}: its DNS needs the TXT record "
        f"{parameters.dkim.selector}._domainkey.{parameters.dkim.domain}, whose text is the key record of "
        f"{names.ref('Secret', 'dkim')}"
    )


def children_of(claim: Claim) -> Children:
    return Children(claim, "smtp", "exim", VERSION)


def credentials_of(claim: Claim) -> Ref:
    return children_of(claim).ref("Secret", "credentials")


def account_key(claim: Claim) -> str:
    return f"hash.{account_name(claim)}"


def server_children(cls: ServiceClass, settings: Settings) -> Children:
    return Children(cls, "mail", "exim", VERSION, space=settings.system_namespace)


def server_of(class_name: str, settings: Settings) -> AccountServer:
    """The server of a class, for those who know no more of the class than its name."""
    deployment = Ref("Deployment", f"{class_name}-mail", settings.system_namespace)
    accounts = Ref("Secret", f"{class_name}-mail-accounts", settings.system_namespace)
    return AccountServer("The mail server", deployment, accounts, credentials_of, account_key)


def plan_password(names: Children) -> Mint:
    """The account's password, made once."""
    connection = SecretKey(names.namespace, names.claim.connection_secret, "password")
    return Mint(names.owned("credentials"), {"password": Random(recover=(connection,))})


def connection_of(ask: Ask, names: Children) -> dict[str, Value]:
    """The connection secret, as published for every SMTPAccount."""
    claim = ask.claim
    assert isinstance(claim, SMTPAccount)
    host = f"{ask.class_name}-mail.{ask.settings.system_namespace}.svc"
    user = account_name(claim)
    sender = claim.spec.parameters.sender or f"{claim.name}@{ask.parameters.domain or ask.settings.domain}"
    return {
        "type": Literal(TYPES["SMTPAccount"]),
        "provider": Literal("embedded"),
        "host": Literal(host),
        "port": Literal(str(PORT)),
        "tls": Literal("none"),
        "username": Literal(user),
        "password": From(SecretKey(names.namespace, names.named("credentials"), "password")),
        "sender": Literal(sender),
        "uri": Template(f"smtp://{user}:${{password}}@{host}:{PORT}", {"password": "password"}, quote="url"),
    }


def refuse_smarthost(cls: ServiceClass, parameters: Parameters, seen: Seen, settings: Settings) -> Stalled | None:
    """Whether the smarthost's credentials can be had. A server that runs goes on as it is."""
    name = parameters.smarthost.credentials if parameters.smarthost else None
    if name is None:
        return None
    secret = seen.secret(Theirs("Secret", name, settings.system_namespace))
    missing = sorted({"username", "password"} - (secret.keys if secret else frozenset()))
    if not missing:
        return None
    return Stalled(
        HOST_NEEDED,
        f"spec.parameters.smarthost.credentials: the Secret {settings.system_namespace}/{name} "
        f"{'does not exist' if secret is None else 'lacks ' + ', '.join(missing)}; make it with username and password",
        ready=is_available(seen.get(server_of(cls.name, settings).deployment)),
    )


def plan_accounts(names: Children, parameters: Parameters, claims: Sequence[Claim]) -> Mint:
    """What the server reads: who may submit, and where mail goes."""
    values: dict[str, Value] = {}
    for claim in claims:
        password = SecretKey(claim.namespace, children_of(claim).named("credentials"), "password")
        values[account_key(claim)] = Hashed(password)
    lines = "".join(f"{account_name(claim)}: ${{h{number}}}\n" for number, claim in enumerate(claims))
    values["limits"] = Literal(f"rate: {parameters.recipients_per_hour}\n")
    if signing := parameters.dkim:
        values["dkim"] = Literal(f"domain: {signing.domain}\nselector: {signing.selector}\n")
        values["dkim.pem"] = From(SecretKey(names.namespace, names.named("dkim"), "private.pem"))
    values["accounts"] = Template(lines, {f"h{number}": account_key(claim) for number, claim in enumerate(claims)})
    if host := parameters.smarthost:
        text = f"host: {host.host}\nport: {host.port}\ntls: {host.tls}\n"
        places: dict[str, str | SecretKey] = {}
        if host.credentials:
            text += "username: ${username}\npassword: ${password}\n"
            places = {key: SecretKey(names.namespace, host.credentials, key) for key in ("username", "password")}
        values["smarthost"] = Template(text, places)
    else:
        values["viewer-username"] = Literal("mail")
        values["viewer-password"] = Random()
    return Mint(names.owned("accounts"), values)


def plan_signing_key(names: Children) -> Mint:
    """The key that signs, made once, and what the domain's DNS must say of it (RFC 6376, section 3.6.1)."""
    copy = SecretKey(names.namespace, names.named("accounts"), "dkim.pem")
    values: dict[str, Value] = {
        "private.pem": Random(form="rsa-key", recover=(copy,)),
        "record": PublicPart("private.pem", "v=DKIM1; k=rsa; p=${key}"),
    }
    return Mint(names.kept("dkim"), values)


def plan_access(names: Children, parameters: Parameters) -> tuple[Action, ...]:
    """How the server is found, who may reach it, and its volume."""
    ports = {"submission": PORT} | ({} if parameters.smarthost else {"viewer": VIEWER_PORT})
    anywhere = [
        {"from": [{"namespaceSelector": {}}], "ports": [{"port": port, "protocol": "TCP"} for port in ports.values()]}
    ]
    return (
        Apply(objects.build_service(names.owned(), ports, selector=names.selector)),
        Apply(objects.build_network_policy(names.owned(), selector=names.selector, ingress=anywhere)),
        Apply(objects.build_volume_claim(names.kept("spool"), parameters.storage, parameters.storage_class)),
    )


def build_server(names: Children, parameters: Parameters, accounts_digest: str, settings: Settings) -> Object:
    """The server, and for kept mail a page to read it."""
    image = settings.image("mail", VERSION)
    read = ("accounts", "limits") + (("smarthost",) if parameters.smarthost else ())
    read += ("dkim", "dkim.pem") if parameters.dkim else ()
    spool, kept = (
        objects.Mount("spool", path, {"persistentVolumeClaim": {"claimName": names.named("spool")}}, False, part)
        for path, part in (("/var/spool/exim", "spool"), ("/var/lib/mail", "mail"))
    )
    exim = objects.Container(
        name="exim",
        image=image,
        ports={"submission": PORT},
        mounts=(
            spool,
            kept,
            objects.from_secret("accounts", "/etc/libresh/mail", names.named("accounts"), read),
            objects.empty_dir("tmp", "/tmp"),
        ),
        resources=objects.Resources(cpu="10m", memory="24Mi", memory_limit="128Mi"),
        startup=objects.Probe(port=PORT, period=1, failures=120),
        readiness=objects.Probe(port=PORT),
        liveness=objects.Probe(port=PORT, period=10, failures=6),
    )
    viewer = objects.Container(
        name="viewer",
        image=image,
        command=("/usr/local/bin/libresh-mail-viewer",),
        ports={"viewer": VIEWER_PORT},
        mounts=(kept, viewer_credentials(names)),
        resources=objects.Resources(cpu="10m", memory="24Mi", memory_limit="96Mi"),
        startup=objects.Probe(port=VIEWER_PORT, path="/healthz", period=1, failures=120),
        readiness=objects.Probe(port=VIEWER_PORT, path="/healthz"),
    )
    pod = objects.Pod((exim,) if parameters.smarthost else (exim, viewer), grace=30)
    return objects.build_deployment(
        names.owned(), pod, selector=names.selector, content=accounts_digest, deadline=DEADLINE
    )


def viewer_credentials(names: Children) -> objects.Mount:
    """The name and password for reading kept mail."""
    items = [{"key": f"viewer-{key}", "path": key} for key in ("username", "password")]
    source = {"secret": {"secretName": names.named("accounts"), "defaultMode": 0o440, "items": items}}
    return objects.Mount("viewer", "/etc/libresh/viewer", source)


DRIVERS = (EmbeddedMail(),)
