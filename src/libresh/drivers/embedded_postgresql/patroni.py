"""What the members find in /etc/patroni: its configuration, and the tools that see to what Patroni leaves open."""

from pathlib import Path
from typing import Any

import msgspec

from libresh.api.quantity import parse
from libresh.drivers.embedded_postgresql.members import PRIMARY, REPLICA, ROLE_LABEL
from libresh.drivers.embedded_postgresql.model import CONNECTIONS, SCOPE_LABEL, Names, Parameters
from libresh.drivers.model import Ask

PORT, REST_PORT = 5432, 8008
DATA = "/var/lib/postgresql/data"
SOCKETS = "/var/run/postgresql"
ROLES_CALLBACK = "/usr/local/bin/libresh-postgresql-roles"
TOOLS = Path(__file__).parent / "tools"
PYTHON, CONFIGURATION = "/opt/patroni/bin/python", "/etc/patroni"
MEMBER_TOOL, ALONE_TOOL = "libresh_member.py", "libresh_alone.py"
MEMBER_CODE, ALONE_CODE = ((TOOLS / name).read_text(encoding="utf-8") for name in (MEMBER_TOOL, ALONE_TOOL))
MEMBER_COMMAND = (PYTHON, f"{CONFIGURATION}/{MEMBER_TOOL}")
ALONE_COMMAND = (PYTHON, f"{CONFIGURATION}/{ALONE_TOOL}")


def files_of(ask: Ask, names: Names) -> dict[str, str]:
    """What the members find in /etc/patroni."""
    files = {"patroni.yaml": render_patroni(ask, names)}
    settings = {MEMBER_TOOL: MEMBER_CODE, "dynamic.json": render(dynamic_settings(ask.parameters))}
    if ask.parameters.members > 1:
        files |= settings
    elif has_settings(ask.parameters):
        files |= settings | {ALONE_TOOL: ALONE_CODE}
    return files


def has_settings(parameters: Parameters) -> bool:
    """Whether the only member sees to it that Patroni's own settings are what they should be.

    Not where they are Patroni's own: databases that run are not restarted for what they have already.
    """
    return parameters.max_connections != CONNECTIONS


def render(value: Any) -> str:
    """JSON for people to read, the same each time."""
    return msgspec.json.format(msgspec.json.encode(value, order="sorted")).decode() + "\n"


def dynamic_settings(parameters: Parameters) -> dict[str, Any]:
    """The settings that Patroni keeps for all members of a cluster at once (Patroni 4.1: Dynamic Configuration).

    What must be the same everywhere, as `max_connections`, Patroni takes from here alone (Important rules). A lock that
    nobody renews is free after `ttl`; that must be no less than `loop_wait` and twice `retry_timeout`. With `quorum`
    any one of the replicas may confirm a write, so that one replica that goes does not hold writes up; nobody becomes
    primary who cannot be sure to have all that was confirmed. While both replicas are away writes go on without them,
    and nobody takes over then (Replication modes: Quorum commit mode). `primary_start_timeout` 0: after a crash another
    takes over at once, which loses nothing only where replicas have it all.
    """
    if parameters.members == 1:
        return {
            "ttl": 30,
            "loop_wait": 10,
            "retry_timeout": 10,
            "maximum_lag_on_failover": 1048576,
            # While the API server is away, the primary goes on as long as all members it knows agree.
            "failsafe_mode": True,
            "postgresql": {
                "use_pg_rewind": True,
                **({"parameters": {"max_connections": parameters.max_connections}} if has_settings(parameters) else {}),
            },
        }
    return {
        "ttl": 20,
        "loop_wait": 5,
        "retry_timeout": 5,
        "maximum_lag_on_failover": 1048576,
        "failsafe_mode": True,
        "synchronous_mode": "quorum" if parameters.synchronous else False,
        "synchronous_mode_strict": False,
        "synchronous_node_count": 1,
        "primary_start_timeout": 0 if parameters.synchronous else 300,
        "postgresql": {
            "use_pg_rewind": True,
            "parameters": {"max_connections": parameters.max_connections, "wal_sender_timeout": "20s"},
        },
    }


def render_patroni(ask: Ask, names: Names) -> str:
    """Patroni's configuration, as JSON, which is YAML. Secrets and addresses reach it by environment."""
    callback = " ".join(MEMBER_COMMAND) if ask.parameters.members > 1 else ROLES_CALLBACK
    shared = max(parse(ask.parameters.memory) // 4, 32 << 20) >> 20
    config = {
        "scope": names.name,
        "restapi": {"listen": f"0.0.0.0:{REST_PORT}"},
        "kubernetes": {
            "namespace": names.claim.namespace,
            "labels": names.selector,
            "scope_label": SCOPE_LABEL,
            "role_label": ROLE_LABEL,
            "leader_label_value": PRIMARY,
            "standby_leader_label_value": PRIMARY,
            "follower_label_value": REPLICA,
            "use_endpoints": False,
        },
        "bootstrap": {
            "dcs": dynamic_settings(ask.parameters),
            "initdb": [{"encoding": "UTF8"}, {"locale": "C.UTF-8"}, "data-checksums"],
        },
        "postgresql": {
            "listen": f"0.0.0.0:{PORT}",
            "data_dir": f"{DATA}/pgdata",
            "pgpass": "/tmp/pgpass",
            "use_unix_socket": True,
            "parameters": {
                "max_connections": ask.parameters.max_connections,
                "shared_buffers": f"{shared}MB",
                "unix_socket_directories": SOCKETS,
                "password_encryption": "scram-sha-256",
                "log_destination": "stderr",
                "logging_collector": "off",
            },
            "pg_hba": [
                "local all all trust",
                "host replication replicator all scram-sha-256",
                "host all all all scram-sha-256",
            ],
            "authentication": {
                "superuser": {"username": "postgres"},
                "replication": {"username": "replicator"},
            },
            "callbacks": {"on_start": callback, "on_role_change": callback},
            **(OF_THREE if ask.parameters.members > 1 else {}),
        },
        "watchdog": {"mode": "off"},
    }
    return render(config)


OF_THREE = {
    "basebackup": [{"checkpoint": "fast"}],
    # What an old primary has that the new one has not was never acknowledged, or asynchronous replication gave it up.
    "remove_data_directory_on_rewind_failure": True,
}
"""How a member becomes a copy of the primary: at once, and anew where its own data cannot be wound back."""
