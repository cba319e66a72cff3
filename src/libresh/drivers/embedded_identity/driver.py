"""OIDCClient by Canaille: one light identity provider for each class, a client on it for each claim.

People are made by an administrator in the provider itself, and come from nowhere else: who needs a directory or
federation names a class with another driver.

    claim: client secret minted ──> class: client written, provider restarted with it ──> claim: ready
"""

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec

from libresh.api.apps import Host
from libresh.api.claims import Claim, Quantity
from libresh.api.identity import OIDCClient
from libresh.api.services import ServiceClass
from libresh.catalog.settings import Settings
from libresh.drivers.children import Children
from libresh.drivers.connection import TYPES
from libresh.drivers.model import Ask, Provision, Seen, Server
from libresh.drivers.servers import DEADLINE, AccountServer, account_name
from libresh.plan import objects
from libresh.plan.actions import Action, Apply, From, Literal, Mint, Object, Random, Ref, SecretKey, Template, Value
from libresh.plan.decision import Stalled
from libresh.ports import Watched

VERSION = "0.3.6"
PORT = 8080
DATA = "/var/lib/canaille"


class Parameters(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """Parameters of a class with this driver."""

    host: Host | None = None
    """The name people reach the provider at. Absent: `id` and the operator's domain."""
    title: Annotated[str, msgspec.Meta(max_length=64)] = "libre.sh"
    """What the log-in page is headed."""
    ingress_class: str | None = None
    tls_secret: str | None = None
    """A TLS Secret in the operator's namespace. Absent: the ingress controller's default."""
    storage: Quantity = "256Mi"
    storage_class: str | None = None


class EmbeddedIdentity:
    """Serves OIDCClient claims with clients on one Canaille for each class."""

    name = "embedded"
    claim_kind = "OIDCClient"
    parameters = Parameters
    watches = (
        Watched("Deployment", writes=True),
        Watched("Service", writes=True),
        Watched("Ingress", writes=True),
        Watched("PersistentVolumeClaim", writes=True),
        Watched("NetworkPolicy", writes=True),
        Watched("Secret", writes=True),
        Watched("Pod"),
    )

    def capabilities(self, parameters: Any) -> tuple[str, ...]:
        """It has users of its own."""
        return ("users",)

    def refuse(self, ask: Ask) -> Stalled | None:
        return None

    def looks_at(self, ask: Ask) -> tuple[Ref, ...]:
        return server_of(ask.class_name, ask.settings).looks_at([ask.claim])

    def plan(self, ask: Ask, seen: Seen) -> Provision:
        names, server = children_of(ask.claim), server_of(ask.class_name, ask.settings)
        return Provision(
            outcome=server.outcome_of_account(ask, seen),
            actions=(plan_secret(names),),
            connection=connection_of(ask, names),
            instance=f"{server.deployment} (Canaille), client {account_name(ask.claim)}",
        )

    def server_ref(self, class_name: str, settings: Settings) -> Ref:
        return server_of(class_name, settings).deployment

    def server_looks_at(
        self, cls: ServiceClass, parameters: Any, claims: Sequence[Claim], settings: Settings
    ) -> tuple[Ref, ...]:
        return server_of(cls.name, settings).looks_at(claims)

    def plan_server(
        self, cls: ServiceClass, parameters: Any, claims: Sequence[Claim], seen: Seen, settings: Settings
    ) -> Server:
        names, server = server_children(cls, settings), server_of(cls.name, settings)
        host, clients = host_of(parameters, settings), seen.secret(server.accounts)
        actions: tuple[Action, ...] = (
            Mint(names.kept("key"), {"secret-key": Random(32)}),
            plan_clients(names, parameters, host, server.claims_now(cls, claims, seen)),
            *plan_access(names, parameters, host),
        )
        if clients is not None:
            actions += (Apply(build_server(names, clients.digest, settings)),)
        outcome = server.outcome(cls, seen, f"People log in at https://{host}")
        return Server(outcome, actions, name=f"{server.deployment} (Canaille)", url=f"https://{host}")


def children_of(claim: Claim) -> Children:
    return Children(claim, "oidc", "canaille", VERSION)


def credentials_of(claim: Claim) -> Ref:
    return children_of(claim).ref("Secret", "credentials")


def server_children(cls: ServiceClass, settings: Settings) -> Children:
    return Children(cls, "identity", "canaille", VERSION, space=settings.system_namespace)


def server_of(class_name: str, settings: Settings) -> AccountServer:
    """The server of a class, for those who know no more of the class than its name."""
    deployment = Ref("Deployment", f"{class_name}-identity", settings.system_namespace)
    clients = Ref("Secret", f"{class_name}-identity-clients", settings.system_namespace)
    return AccountServer("The identity provider", deployment, clients, credentials_of, client_file)


def host_of(parameters: Parameters, settings: Settings) -> str:
    return parameters.host or f"id.{settings.domain}"


def client_file(claim: Claim) -> str:
    return f"{account_name(claim)}.json"


def plan_secret(names: Children) -> Mint:
    """The client's secret, made once."""
    connection = SecretKey(names.namespace, names.claim.connection_secret, "client-secret")
    return Mint(names.owned("credentials"), {"client-secret": Random(recover=(connection,))})


def connection_of(ask: Ask, names: Children) -> dict[str, Value]:
    """The connection secret, as published for every OIDCClient."""
    host = host_of(ask.parameters, ask.settings)
    return {
        "type": Literal(TYPES["OIDCClient"]),
        "provider": Literal("embedded"),
        "host": Literal(host),
        "port": Literal("443"),
        "issuer": Literal(f"https://{host}"),
        "client-id": Literal(account_name(ask.claim)),
        "client-secret": From(SecretKey(names.namespace, names.named("credentials"), "client-secret")),
        "uri": Literal(f"https://{host}"),
    }


def render_config(parameters: Parameters, host: str) -> str:
    """Canaille's configuration. The key of its sessions comes by environment."""
    name = msgspec.json.encode(parameters.title).decode()
    return (
        f'SERVER_NAME = "{host}"\nPREFERRED_URL_SCHEME = "https"\n\n'
        f'[CANAILLE]\nNAME = {name}\nDATABASE = "sql"\nENABLE_REGISTRATION = false\n\n'
        f'[CANAILLE_SQL]\nDATABASE_URI = "sqlite:///{DATA}/canaille.sqlite"\n\n'
        # The applications of this cluster belong to the same people: nobody is asked whether they may know a name.
        "[CANAILLE_OIDC]\nREQUIRE_NONCE = false\n\n"
        '[CANAILLE_OIDC.USERINFO_MAPPING]\nPREFERRED_USERNAME = "{{ user.user_name }}"\n'
    )


def plan_clients(names: Children, parameters: Parameters, host: str, claims: Sequence[Claim]) -> Mint:
    """The provider's configuration, and each client as RFC 7591 writes it."""
    values: dict[str, Value] = {"config.toml": Literal(render_config(parameters, host))}
    for claim in claims:
        assert isinstance(claim, OIDCClient)
        asked = claim.spec.parameters
        metadata = {
            "client_id": account_name(claim),
            "client_name": asked.client_name or claim.name,
            "client_uri": asked.client_uri,
            "grant_types": ["authorization_code", "refresh_token"],
            "response_types": ["code"],
            "redirect_uris": list(asked.redirect_uris),
            "post_logout_redirect_uris": list(asked.post_logout_redirect_uris) or None,
            "token_endpoint_auth_method": "client_secret_basic",
        }
        known = {key: value for key, value in metadata.items() if value is not None}
        text = msgspec.json.encode(known, order="sorted").decode().replace("${", "$${")
        secret = SecretKey(claim.namespace, children_of(claim).named("credentials"), "client-secret")
        values[client_file(claim)] = Template(
            f'{text[:-1]},"client_secret":${{secret}}}}', {"secret": secret}, quote="yaml"
        )
    return Mint(names.owned("clients"), values)


def plan_access(names: Children, parameters: Parameters, host: str) -> tuple[Action, ...]:
    """How people and applications reach the provider, and its volume."""
    anywhere = [{"ports": [{"port": PORT, "protocol": "TCP"}]}]
    ingress = objects.build_ingress(
        names.owned(),
        {host: [("/", names.name, "http")]},
        class_name=parameters.ingress_class,
        tls_secret=parameters.tls_secret,
    )
    return (
        Apply(objects.build_service(names.owned(), {"http": PORT}, selector=names.selector)),
        Apply(ingress),
        Apply(objects.build_network_policy(names.owned(), selector=names.selector, ingress=anywhere)),
        Apply(objects.build_volume_claim(names.kept("data"), parameters.storage, parameters.storage_class)),
    )


def build_server(names: Children, clients_digest: str, settings: Settings) -> Object:
    """The provider. It declares its clients (whatever ends in .json) to itself when it starts."""
    mounts = (
        objects.from_claim("data", DATA, names.named("data")),
        objects.from_secret("config", "/etc/canaille", names.named("clients"), ("config.toml",)),
        objects.from_secret("clients", "/etc/libresh/clients", names.named("clients")),
        objects.empty_dir("tmp", "/tmp"),
    )
    container = objects.Container(
        name="canaille",
        image=settings.image("oidc", VERSION),
        env={"SECRET_KEY": objects.env_from_secret(names.named("key"), "secret-key")},
        ports={"http": PORT},
        mounts=mounts,
        resources=objects.Resources(cpu="20m", memory="112Mi", memory_limit="320Mi"),
        startup=objects.Probe(port=PORT, period=1, failures=180),
        readiness=objects.Probe(port=PORT, period=5),
        liveness=objects.Probe(port=PORT, period=10, failures=6),
    )
    pod = objects.Pod((container,), grace=15)
    return objects.build_deployment(
        names.owned(), pod, selector=names.selector, content=clients_digest, deadline=DEADLINE
    )


DRIVERS = (EmbeddedIdentity(),)
