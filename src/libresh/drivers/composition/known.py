"""Objects of operators whose ways are known: when they are ready, and where they say how to connect."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from libresh.plan.actions import From, Literal, Object, SecretKey, Template, Value


@dataclass(frozen=True)
class Facts:
    """What an operator publishes of one object."""

    secret: str
    """The name of the Secret with the credentials, in the object's namespace."""
    values: Mapping[str, Value]


@dataclass(frozen=True)
class Known:
    """One kind of another operator's objects."""

    group: str
    kind: str
    plural: str
    claim_kind: str
    provider: str
    operator: str
    """Who makes something of such an object, in words."""
    longest_name: int
    ready: tuple[str, str]
    """The field path and the value that say that it is ready."""
    keys: frozenset[str]
    """The keys of the connection secret that `facts` gives."""
    secrets: str
    """The label (`key=value`) that its Secrets with credentials bear, unless it was configured otherwise."""
    facts: Callable[[Object, str, str], Facts | None]
    """From manifest, name and namespace. None where the manifest leaves open what is to be connected to."""


def zalando_facts(manifest: Object, name: str, namespace: str) -> Facts | None:
    """What Zalando's operator publishes: a Secret for each role, and a Service with the cluster's name.

    The Secret's name is the default of `secret_name_template`, `{username}.{cluster}.credentials.{tprkind}.{tprgroup}`,
    with `_` in the role's name as `-`; its keys are username and password. Connections without TLS are refused by
    default. Without a database of its own the role is the superuser. (Zalando postgres-operator 1.14: docs/user.md
    "Connect to PostgreSQL", docs/reference/operator_parameters.md, docs/reference/cluster_manifest.md "databases".)
    """
    databases = (manifest.get("spec") or {}).get("databases") or {}
    if not isinstance(databases, dict) or len(databases) > 1:
        return None
    database, role = next(iter(databases.items()), ("postgres", "postgres"))
    if not isinstance(role, str) or not role.replace("_", "").replace("-", "").isalnum():
        return None
    secret = f"{role.replace('_', '-').lower()}.{name}.credentials.postgresql.acid.zalan.do"
    return Facts(
        secret,
        {
            "host": Literal(f"{name}.{namespace}.svc"),
            "port": Literal("5432"),
            "database": Literal(database),
            "username": From(SecretKey(namespace, secret, "username")),
            "password": From(SecretKey(namespace, secret, "password")),
            "uri": Template(
                "postgresql://${username}:${password}@${host}:${port}/${database}?sslmode=require",
                {key: key for key in ("username", "password", "host", "port", "database")},
                quote="url",
            ),
        },
    )


KNOWN = (
    Known(
        group="acid.zalan.do",
        kind="postgresql",
        plural="postgresqls",
        claim_kind="PostgreSQL",
        provider="zalando",
        operator="Zalando's postgres-operator",
        longest_name=53,
        ready=("status.PostgresClusterStatus", "Running"),
        keys=frozenset(("host", "port", "database", "username", "password", "uri")),
        # docs/reference/operator_parameters.md "cluster_labels"
        secrets="application=spilo",
        facts=zalando_facts,
    ),
)


def find(manifest: Object, claim_kind: str = "") -> Known | None:
    """What is known of a manifest's kind, as far as it serves this kind of claim ("": any)."""
    group = str(manifest.get("apiVersion", "")).rpartition("/")[0]
    for each in KNOWN:
        if (each.group, each.kind) == (group, manifest.get("kind")) and claim_kind in ("", each.claim_kind):
            return each
    return None
