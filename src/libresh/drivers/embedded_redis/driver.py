"""Redis by Valkey, one server of its own for each claim, with one ACL user."""

from typing import Any

import msgspec

from libresh.api.cache import Redis
from libresh.api.changes import Change
from libresh.api.quantity import parse
from libresh.drivers.children import Children
from libresh.drivers.connection import TYPES
from libresh.drivers.model import Ask, Provision, Seen
from libresh.drivers.outcomes import outcome_of_single, refuse_volume
from libresh.plan import naming, objects
from libresh.plan.actions import (
    Action,
    Apply,
    From,
    Literal,
    Mint,
    Object,
    Random,
    Ref,
    SecretKey,
    Template,
    Value,
)
from libresh.plan.decision import Stalled
from libresh.ports import Watched

PORT = 6379
ROLE = "app"
VERSION = "8.1"
DATA = "/data"
ACL = (
    "user default on nopass resetkeys resetchannels -@all +ping\n"
    f"user {ROLE} on >${{password}} ~* &* +@all -@admin +info\n"
)
"""Anyone may ask whether the server is up; all else takes the claim's user, who may not administer the server."""


class Parameters(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """Parameters of a class with this driver."""

    storage_class: str | None = None
    """The StorageClass of the volumes of claims with persistence. Absent: the cluster's default."""


class EmbeddedRedis:
    """Serves Redis claims with one Valkey each."""

    name = "embedded"
    claim_kind = "Redis"
    parameters = Parameters
    watches = (
        Watched("StatefulSet", writes=True),
        Watched("Service", writes=True),
        Watched("ConfigMap", writes=True),
        Watched("PersistentVolumeClaim", writes=True),
        Watched("NetworkPolicy", writes=True),
        Watched("Secret", writes=True),
    )

    changes = (
        Change(
            "memory",
            "grows",
            "with persistence the volume would have to shrink with it. Keep the memory it has, or make a new claim",
            given="persistence",
        ),
        Change(
            "persistence",
            "refused",
            "the server would begin empty on the other kind of storage, and what it has would be left behind. Make a "
            "new claim as it should be",
        ),
    )

    def capabilities(self, parameters: Any) -> tuple[str, ...]:
        """Memory of its own."""
        return ("quota",)

    def refuse(self, ask: Ask) -> Stalled | None:
        """A Valkey needs some room."""
        return refuse_volume("spec.parameters.memory", redis_of(ask).spec.parameters.memory, least="8Mi")

    def looks_at(self, ask: Ask) -> tuple[Ref, ...]:
        names = names_of(ask)
        return (names.ref("StatefulSet"), *kept_refs(ask))

    def plan(self, ask: Ask, seen: Seen) -> Provision:
        names = names_of(ask)
        credentials = seen.secret(names.ref("Secret", "credentials"))
        actions: tuple[Action, ...] = (plan_credentials(names), *plan_access(ask))
        if credentials is not None:
            actions += (Apply(build_server(ask, credentials.digest)),)
        return Provision(
            outcome=outcome_of_single("Valkey", names, seen),
            actions=actions,
            connection=connection_of(names),
            instance=f"{names.ref('StatefulSet')} (Valkey)",
            kept=kept_refs(ask),
        )


def redis_of(ask: Ask) -> Redis:
    assert isinstance(ask.claim, Redis)
    return ask.claim


def names_of(ask: Ask) -> Children:
    return Children(ask.claim, "redis", "valkey", VERSION)


def kept_refs(ask: Ask) -> tuple[Ref, ...]:
    """The password, and the volume where content is to survive."""
    names = names_of(ask)
    volume = (names.ref("PersistentVolumeClaim", "data"),) if redis_of(ask).spec.parameters.persistence else ()
    return (names.ref("Secret", "credentials"), *volume)


def plan_credentials(names: Children) -> Mint:
    """The password, made once, and the ACL file the server reads it from."""
    connection = SecretKey(names.claim.namespace, names.claim.connection_secret, "password")
    return Mint(
        names.kept("credentials"),
        {"password": Random(recover=(connection,)), "users.acl": Template(ACL, {"password": "password"})},
    )


def connection_of(names: Children) -> dict[str, Value]:
    """The connection secret, as published for every Redis."""
    return {
        "type": Literal(TYPES["Redis"]),
        "provider": Literal("embedded"),
        "host": Literal(names.host),
        "port": Literal(str(PORT)),
        "username": Literal(ROLE),
        "password": From(SecretKey(names.claim.namespace, names.named("credentials"), "password")),
        "uri": Template(f"redis://{ROLE}:${{password}}@{names.host}:{PORT}/0", {"password": "password"}, quote="url"),
    }


def render_config(ask: Ask) -> str:
    """Valkey's configuration."""
    parameters = redis_of(ask).spec.parameters
    lines = [
        f"port {PORT}",
        "bind * -::*",
        "protected-mode no",
        "aclfile /etc/valkey-users/users.acl",
        f"maxmemory {parse(parameters.memory)}",
        "maxmemory-policy allkeys-lru",
        f"dir {DATA}",
        'save ""',
        f"appendonly {'yes' if parameters.persistence else 'no'}",
    ]
    return "\n".join(lines) + "\n"


def plan_access(ask: Ask) -> tuple[Action, ...]:
    """How the server is found, who may reach it, its configuration and its volume."""
    names = names_of(ask)
    inside = [{"from": names.admitted, "ports": [{"port": PORT, "protocol": "TCP"}]}]
    actions: tuple[Action, ...] = (
        Apply(objects.build_service(names.owned(), {"redis": PORT}, selector=names.selector)),
        Apply(objects.build_network_policy(names.owned(), selector=names.selector, ingress=inside, egress=())),
        Apply(objects.build_config_map(names.owned("config"), {"valkey.conf": render_config(ask)})),
    )
    if redis_of(ask).spec.parameters.persistence:
        size = f"{max(parse(redis_of(ask).spec.parameters.memory) * 3 >> 20, 64)}Mi"
        volume = objects.build_volume_claim(names.kept("data"), size, ask.parameters.storage_class)
        actions += (Apply(volume),)
    return actions


def build_server(ask: Ask, credentials_digest: str) -> Object:
    """The server."""
    names, parameters = names_of(ask), redis_of(ask).spec.parameters
    data = (
        objects.from_claim("data", DATA, names.named("data"))
        if parameters.persistence
        else objects.empty_dir("data", DATA)
    )
    limit = (parse(parameters.memory) * 2 >> 20) + 32
    container = objects.Container(
        name="valkey",
        image=ask.settings.image("valkey", VERSION),
        args=("/etc/valkey/valkey.conf",),
        ports={"redis": PORT},
        mounts=(
            data,
            objects.from_config("config", "/etc/valkey", names.named("config")),
            objects.from_secret("users", "/etc/valkey-users", names.named("credentials"), ("users.acl",)),
        ),
        resources=objects.Resources(cpu="10m", memory="16Mi", memory_limit=f"{limit}Mi"),
        # It answers once its data is loaded; from then on a connection tells enough, and costs no process.
        startup=objects.Probe(argv=("valkey-cli", "-e", "ping"), period=1, failures=1800),
        readiness=objects.Probe(port=PORT, period=5),
        liveness=objects.Probe(port=PORT, period=10, failures=6),
    )
    content = naming.digest_of(render_config(ask), credentials_digest)
    return objects.build_stateful_set(
        names.owned(),
        objects.Pod((container,), grace=10),
        selector=names.selector,
        service=names.name,
        content=content,
    )


DRIVERS = (EmbeddedRedis(),)
