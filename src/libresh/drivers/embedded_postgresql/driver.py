"""PostgreSQL by Patroni, one member or three of its own for each claim, on volumes in the claim's namespace.

Patroni keeps its state in ConfigMaps of its own (`<name>-pg-config`, `<name>-pg-leader`), so its ServiceAccount may
write just these. The application's role, database and extensions are made by the image's callback wherever the member
is primary.

Each of three members has a StatefulSet and a volume of its own: they are not alike (one is the primary), and what
changes in them goes from one to the next in an order that a StatefulSet does not know (`members.py`). The first
member's volume is the one a single member has, so that three can take on what one has left.
"""

from typing import Any

from libresh.api.changes import Change
from libresh.drivers.connection import TYPES
from libresh.drivers.embedded_postgresql.members import (
    PRIMARY,
    ROLE_LABEL,
    Member,
    due_members,
    outcome_of_members,
    with_quorum,
)
from libresh.drivers.embedded_postgresql.model import (
    PATRONI_NOTES,
    Names,
    Parameters,
    names_of,
    part_of,
    volume_of,
    waits_for_replica,
)
from libresh.drivers.embedded_postgresql.patroni import (
    ALONE_COMMAND,
    CONFIGURATION,
    DATA,
    MEMBER_COMMAND,
    PORT,
    REST_PORT,
    SOCKETS,
    files_of,
    has_settings,
    render_patroni,
)
from libresh.drivers.members import MEMBER_LABEL, content_of_member, pods_of
from libresh.drivers.model import Ask, Provision, Seen
from libresh.drivers.outcomes import outcome_of_single, refuse_volume
from libresh.plan import naming, objects
from libresh.plan.actions import Action, Apply, From, Literal, Mint, Object, Random, Ref, SecretKey, Template, Value
from libresh.plan.decision import Outcome, Stalled
from libresh.ports import Watched

ROLE = "app"
PASSWORDS = ("password", "superuser-password", "replication-password")
MOST_MEMBERS = 3
VERSIONS = ("17",)
"""The major versions there are images of."""
VERSION_MISSING = "VersionMissing"
LEFT_BY_THREE = "LeftByThreeMembers"  # the class has one member, the volumes of three are there


class EmbeddedPostgreSQL:
    """Serves PostgreSQL claims with one Patroni member each, or three."""

    name = "embedded"
    claim_kind = "PostgreSQL"
    parameters = Parameters
    watches = (
        Watched("StatefulSet", writes=True),
        Watched("Service", writes=True),
        Watched("ConfigMap", writes=True, verbs=("update",)),
        Watched("ServiceAccount", writes=True),
        Watched("Role", writes=True),
        Watched("RoleBinding", writes=True),
        Watched("PersistentVolumeClaim", writes=True),
        Watched("NetworkPolicy", writes=True),
        Watched("PodDisruptionBudget", writes=True),
        Watched("Secret", writes=True),
        Watched("Pod", verbs=("patch", "update")),
    )

    changes = (
        Change(
            "version",
            "operation",
            "another major version has another format on disk, and the operation that converts it is not there yet. "
            "Make a new claim of the other version and move the data to it",
        ),
    )

    def capabilities(self, parameters: Any) -> tuple[str, ...]:
        """It grows where the StorageClass lets it, and has its room for itself. Only three members survive a node."""
        return ("expand", "ha", "quota") if parameters.members > 1 else ("expand", "quota")

    def refuse(self, ask: Ask) -> Stalled | None:
        """A PostgreSQL needs some room even when empty."""
        asked = names_of(ask).database.spec.parameters
        if asked.version not in VERSIONS:
            return Stalled(
                VERSION_MISSING,
                f"spec.parameters.version: ServiceClass {ask.class_name} has PostgreSQL {', '.join(VERSIONS)}, not "
                f"{asked.version}; ask for what it has, or name another class",
            )
        return refuse_volume("spec.parameters.storage", asked.storage, least="256Mi")

    def looks_at(self, ask: Ask) -> tuple[Ref, ...]:
        names, members = names_of(ask), ask.parameters.members
        left = names.volumes(MOST_MEMBERS)[members:]
        kept = (ref for ref in names.kept_refs(members) if ref.kind != "ConfigMap")
        quorum = (names.quorum,) if waits_for_replica(ask.parameters) else ()
        return (*names.workloads(members), *kept, *left, *quorum)

    def plan(self, ask: Ask, seen: Seen) -> Provision:
        names, members = names_of(ask), ask.parameters.members
        credentials = seen.secret(names.ref("Secret", "credentials"))
        actions: tuple[Action, ...] = (
            plan_credentials(names),
            *plan_access(names),
            *plan_storage(ask, names),
        )
        said = "one member" if members == 1 else "three members"
        instance = f"{names.ref('StatefulSet')} (Patroni, {said})"
        if left := left_by_three(names, seen, members):
            # Nothing is this claim's then: what lies there is not touched when it is deleted.
            return Provision(refuse_left(left), instance=instance)
        plan_members = plan_single if members == 1 else plan_three
        outcome, workloads = plan_members(ask, names, seen, credentials.digest if credentials else None)
        return Provision(
            outcome=outcome,
            actions=actions + workloads,
            connection=connection_of(names),
            instance=instance,
            kept=names.kept_refs(members),
        )


def plan_single(ask: Ask, names: Names, seen: Seen, credentials: str | None) -> tuple[Outcome, tuple[Action, ...]]:
    """The only member."""
    outcome = outcome_of_single("PostgreSQL", names, seen)
    return outcome, (Apply(build_member(ask, names, credentials)),) if credentials is not None else ()


def left_by_three(names: Names, seen: Seen, members: int) -> list[Ref]:
    """Volumes of members that an earlier claim of the same name had and this one has not."""
    return [ref for ref in names.volumes(MOST_MEMBERS)[members:] if seen.get(ref)]


def refuse_left(left: list[Ref]) -> Stalled:
    """What three have left is not one member's to take on: the first may have been behind."""
    return Stalled(
        LEFT_BY_THREE,
        f"spec.className: this class has one member, but an earlier claim of this name had three, and "
        f"{', '.join(map(str, left))} are still there. Which of the volumes is the newest only three members can tell: "
        f"make the claim anew with a class that has parameters.members: 3, or delete these volumes if the data may go",
    )


def plan_three(ask: Ask, names: Names, seen: Seen, credentials: str | None) -> tuple[Outcome, tuple[Action, ...]]:
    """Three members that know of each other: what may be written of them now, and how they stand together."""
    wanted = [build_one_of_three(ask, names, credentials or "", number) for number in range(MOST_MEMBERS)]
    members = [
        Member(obj, seen.get(ref), pods_of(number, seen.pods))
        for number, (obj, ref) in enumerate(zip(wanted, names.workloads(MOST_MEMBERS), strict=True))
    ]
    if waits_for_replica(ask.parameters):
        members = with_quorum(members, seen.get(names.quorum))
    outcome = outcome_of_members(members, [seen.get(ref) for ref in names.volumes(MOST_MEMBERS)])
    budget = objects.build_disruption_budget(names.owned(), selector=names.selector, max_unavailable=1)
    due = due_members(members) if credentials is not None else []
    return outcome, (Apply(budget), *(Apply(member.wanted) for member in due))


def plan_credentials(names: Names) -> Mint:
    """The passwords, made once. The application's comes back from the connection secret if this one is lost."""
    connection = SecretKey(names.claim.namespace, names.claim.connection_secret, "password")
    values: dict[str, Value] = {key: Random() for key in PASSWORDS}
    values["password"] = Random(recover=(connection,))
    values |= {"username": Literal(ROLE), "database": Literal(ROLE)}
    return Mint(names.kept("credentials"), values)


def connection_of(names: Names) -> dict[str, Value]:
    """The connection secret, as published for every PostgreSQL."""
    host = names.host
    password = SecretKey(names.claim.namespace, names.named("credentials"), "password")
    return {
        "type": Literal(TYPES["PostgreSQL"]),
        "provider": Literal("embedded"),
        "host": Literal(host),
        "port": Literal(str(PORT)),
        "database": Literal(ROLE),
        "username": Literal(ROLE),
        "password": From(password),
        "uri": Template(
            f"postgresql://{ROLE}:${{password}}@{host}:{PORT}/{ROLE}", {"password": "password"}, quote="url"
        ),
    }


def plan_access(names: Names) -> tuple[Action, ...]:
    """What Patroni may do in the API, and who may reach the server."""
    maps = [names.named(part) for part in PATRONI_NOTES]
    rules = (
        {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["create", "list", "watch"]},
        {
            "apiGroups": [""],
            "resources": ["configmaps"],
            "resourceNames": maps,
            "verbs": ["delete", "get", "patch", "update"],
        },
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "patch", "update", "watch"]},
    )
    inside: list[dict[str, Any]] = [{"from": names.admitted, "ports": [{"port": PORT, "protocol": "TCP"}]}]
    members: list[dict[str, Any]] = [{"from": [{"podSelector": {"matchLabels": names.selector}}]}]
    metadata = names.owned()
    return (
        Apply(objects.build_service_account(metadata)),
        Apply(objects.build_role(metadata, rules)),
        Apply(objects.build_role_binding(metadata, role=names.name, service_account=names.name)),
        Apply(objects.build_network_policy(metadata, selector=names.selector, ingress=inside + members)),
        Apply(objects.build_service(metadata, {"postgresql": PORT}, selector=names.selector | {ROLE_LABEL: PRIMARY})),
        Apply(
            objects.build_service(names.owned("members"), {"postgresql": PORT}, selector=names.selector, headless=True)
        ),
    )


def plan_storage(ask: Ask, names: Names) -> tuple[Action, ...]:
    """The volumes and Patroni's configuration."""
    size, storage_class = names.database.spec.parameters.storage, ask.parameters.storage_class
    return (
        *(
            Apply(objects.build_volume_claim(names.kept(volume_of(number)), size, storage_class))
            for number in range(ask.parameters.members)
        ),
        Apply(objects.build_config_map(names.owned("patroni"), files_of(ask, names))),
    )


def build_member(ask: Ask, names: Names, credentials: str) -> Object:
    """The only member: Patroni with PostgreSQL below it."""
    content = naming.digest_of(render_patroni(ask, names), credentials)
    return objects.build_stateful_set(
        names.owned(),
        build_pod(ask, names, 0),
        selector=names.selector,
        service=names.named("members"),
        content=content,
    )


def build_one_of_three(ask: Ask, names: Names, credentials: str, number: int) -> Object:
    """One of three members. Its content says all that it runs with, so that it is known which members have it."""
    pod = build_pod(ask, names, number)
    metadata, own = names.owned(part_of(number)), {MEMBER_LABEL: str(number)}
    configuration = naming.digest_of(pod.build(), files_of(ask, names))
    return objects.build_stateful_set(
        metadata | {"labels": metadata["labels"] | own},
        pod,
        selector=names.selector | own,
        service=names.named("members"),
        content=content_of_member(configuration, naming.digest_of(credentials)),
    )


def build_pod(ask: Ask, names: Names, number: int) -> objects.Pod:
    """A member: Patroni with PostgreSQL below it."""
    claim, three = names.database, ask.parameters.members > 1
    alone = ALONE_COMMAND if has_settings(ask.parameters) else ()
    extensions = ",".join(sorted(claim.spec.parameters.extensions))
    field = {
        "PATRONI_NAME": "metadata.name",
        "PATRONI_KUBERNETES_POD_IP": "status.podIP",
    }
    container = objects.Container(
        name="postgresql",
        image=ask.settings.image("postgresql", claim.spec.parameters.version),
        command=(*MEMBER_COMMAND, "start") if three else alone,
        env={
            **{name: {"fieldRef": {"fieldPath": path}} for name, path in field.items()},
            "PATRONI_POSTGRESQL_CONNECT_ADDRESS": f"$(PATRONI_KUBERNETES_POD_IP):{PORT}",
            "PATRONI_RESTAPI_CONNECT_ADDRESS": f"$(PATRONI_KUBERNETES_POD_IP):{REST_PORT}",
            "PATRONI_SUPERUSER_PASSWORD": objects.env_from_secret(names.named("credentials"), "superuser-password"),
            "PATRONI_REPLICATION_PASSWORD": objects.env_from_secret(names.named("credentials"), "replication-password"),
            "LIBRESH_LC_COLLATE": claim.spec.parameters.locale,
            "LIBRESH_LC_CTYPE": claim.spec.parameters.locale,
            "LIBRESH_EXTENSIONS": extensions,
        },
        ports={"postgresql": PORT, "patroni": REST_PORT},
        mounts=(
            objects.from_claim("data", DATA, names.named(volume_of(number))),
            objects.from_config("config", CONFIGURATION, names.named("patroni")),
            objects.from_secret(
                "credentials",
                "/etc/libresh/credentials",
                names.named("credentials"),
                ("username", "database", *PASSWORDS) if three else ("username", "password", "database"),
            ),
            objects.empty_dir("run", SOCKETS),
            objects.empty_dir("tmp", "/tmp"),
            objects.empty_dir("shm", "/dev/shm", size="64Mi", memory=True),
        ),
        resources=objects.Resources(cpu="50m", memory="96Mi", memory_limit=ask.parameters.memory),
        # The role and the database are made by a callback after the server is up: started means a client can use them.
        # Recovery after a crash may take long, a copy of a large primary longer. From then on Patroni is asked, which
        # costs no process each time: of a replica it says whether it follows closely.
        startup=objects.Probe(argv=READY, period=2, timeout=5, failures=43200 if three else 1800),
        readiness=objects.Probe(port=REST_PORT, path="/readiness?lag=16MB" if three else "/readiness", period=5),
        liveness=objects.Probe(port=REST_PORT, path="/liveness", period=10, timeout=5, failures=6),
        # A primary hands over once it has written all it holds in memory: most of it now, while it still answers.
        pre_stop=CHECKPOINT if three else (),
    )
    return objects.Pod(
        containers=(container,),
        service_account=names.name,
        grace=120 if three else 60,
        apart_from=names.selector if three else {},
    )


READY = (
    "psql",
    "--no-psqlrc",
    "--quiet",
    f"--dbname=host={SOCKETS} user={ROLE} dbname={ROLE} connect_timeout=3",
    "--command=SELECT 1",
    "--output=/dev/null",
)

CHECKPOINT = (
    "psql",
    "--no-psqlrc",
    "--quiet",
    f"--dbname=host={SOCKETS} user=postgres dbname=postgres connect_timeout=3",
    "--command=CHECKPOINT",
)

DRIVERS = (EmbeddedPostgreSQL(),)
