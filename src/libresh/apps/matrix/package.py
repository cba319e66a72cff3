"""Matrix: the homeserver Synapse, what it needs, what it runs, and what must survive."""

from collections.abc import Mapping
from pathlib import Path

from libresh.api.apps import App
from libresh.api.cache import Redis
from libresh.api.database import PostgreSQL
from libresh.api.email import SMTPAccount
from libresh.api.identity import OIDCClient
from libresh.api.objectstore import Bucket
from libresh.api.quantity import parse
from libresh.apps.matrix import config
from libresh.apps.matrix.commands import COMMANDS
from libresh.apps.matrix.config import CONFIG, HTTP_PORT, KEYS, MEDIA, METRICS_PORT, SYNAPSE, TOOLS
from libresh.apps.matrix.spec import Matrix, MatrixSpec
from libresh.catalog.model import (
    ConfigFiles,
    Excluded,
    Instance,
    Kept,
    Metrics,
    Need,
    Package,
    Parts,
    Process,
    Refusal,
    Route,
    Scratch,
    Secrets,
    Singleton,
    Task,
    Use,
    UseConfig,
    UseSecrets,
    Web,
    World,
)
from libresh.catalog.releases import Release, load_releases
from libresh.plan.actions import SecretKey
from libresh.plan.objects import Probe, Resources

HERE = Path(__file__).parent
TOOL_FILES = {path.name: path.read_text(encoding="utf-8") for path in sorted((HERE / "tools").glob("*.py"))}
"""Python that runs inside Synapse's container."""

WEB_CLIENT = "hydrogen"
FEDERATION_PORTS = (443, 8448)


def needs(app: App, spec: MatrixSpec) -> tuple[Need, ...]:
    """The services behind a homeserver."""
    wanted = [
        # Synapse refuses databases that sort otherwise: an upgrade of the C library would corrupt their indexes.
        Need("database", PostgreSQL, spec.database, "db", initial={"locale": "C", "storage": "10Gi"}),
        Need("cache", Redis, spec.cache, "cache", initial={"memory": "64Mi"}, data=False),
        Need("objectStore", Bucket, spec.object_store, "media", initial={"storage": "10Gi"}),
    ]
    if spec.mail is not None:
        wanted.append(Need("mail", SMTPAccount, spec.mail, "mail", data=False))
    if spec.login is not None:
        wanted.append(Need("login", OIDCClient, spec.login, "login", login_parameters(app, spec), data=False))
    return tuple(wanted)


def login_parameters(app: App, spec: MatrixSpec) -> dict[str, object]:
    """What the identity provider must know of the homeserver."""
    return {
        "clientName": f"Matrix ({spec.host})",
        "clientUri": f"https://{spec.host}/",
        "redirectUris": [f"https://{spec.host}/_synapse/client/oidc/callback"],
    }


def parts(matrix: Instance[MatrixSpec]) -> Parts:
    """All that runs, and what it is made of."""
    client = matrix.spec.web_client is not None
    return Parts(
        components=(homeserver(matrix), migration(matrix), *((web_client(matrix),) if client else ())),
        secrets=(Secrets(KEYS, config.keys(matrix), kept=True), Secrets(CONFIG, config.files(matrix))),
        configs=(
            ConfigFiles(TOOLS, TOOL_FILES),
            *((ConfigFiles(WEB_CLIENT, {"config.json": config.web_client(matrix)}),) if client else ()),
        ),
        routes=routes(matrix),
        # People's phones are notified through their vendors' gateways, also without federation.
        world=World(FEDERATION_PORTS if matrix.spec.settings.federation else (443,)),
    )


def homeserver(matrix: Instance[MatrixSpec]) -> Singleton:
    """Synapse's main process: there must never be two of it on one database."""
    metrics = matrix.spec.settings.metrics
    health = Probe(port="http", path="/health")
    process = Process(
        image=matrix.image("synapse"),
        argv=("python", f"{config.TOOLS_PATH}/libresh_start.py", *config.arguments(matrix)),
        env=environment(matrix),
        ports={"http": HTTP_PORT, **({"metrics": METRICS_PORT} if metrics else {})},
        uses=uses(),
        resources=Resources(cpu="100m", memory="160Mi", memory_limit="768Mi"),
        startup=Probe(port="http", path="/health", period=1, failures=300),
        readiness=health,
        liveness=Probe(port="http", path="/health", period=10, timeout=10, failures=6),
        trusts_ca=True,
    )
    return Singleton(SYNAPSE, process, metrics=Metrics(path="/_synapse/metrics") if metrics else None)


def migration(matrix: Instance[MatrixSpec]) -> Task:
    """Brings the database to the release's schema, or makes it. Synapse is started only after it."""
    process = Process(
        image=matrix.image("synapse"),
        argv=("update_synapse_database", "--database-config", f"{config.CONFIG_PATH}/homeserver.yaml"),
        env={"PYTHONPATH": config.TOOLS_PATH},
        uses=uses(),
        resources=Resources(cpu="100m", memory="128Mi", memory_limit="512Mi"),
        trusts_ca=True,
    )
    database = matrix.bindings["database"]
    return Task(
        "migrate",
        process,
        once_per=(matrix.release.version, matrix.release.facts.get("schema", ""), database.secret),
        title="Bringing the database to the release's schema",
        reaches=("database",),
    )


def uses() -> tuple[Use, ...]:
    """The files Synapse reads and the folders it writes. Media passes through the cache folder to the bucket."""
    return (
        UseSecrets(CONFIG, config.CONFIG_PATH),
        UseConfig(TOOLS, config.TOOLS_PATH),
        Scratch(MEDIA, config.MEDIA_PATH, size="2Gi"),
        Scratch("tmp", "/tmp", size="256Mi"),
    )


def environment(matrix: Instance[MatrixSpec]) -> Mapping[str, str | SecretKey]:
    """Variables of the main process. Which of the prepared mail settings holds is known only to the secret."""
    env: dict[str, str | SecretKey] = {"PYTHONPATH": config.TOOLS_PATH}
    if "mail" in matrix.bindings:
        env["MAIL_TLS"] = matrix.bindings["mail"].key("tls")
    return env


def web_client(matrix: Instance[MatrixSpec]) -> Web:
    """Hydrogen: files, and a configuration that names the homeserver."""
    process = Process(
        image=matrix.image(WEB_CLIENT),
        ports={"http": 8080},
        uses=(UseConfig(WEB_CLIENT, "/etc/web-client"), Scratch("tmp", "/tmp")),
        resources=Resources(cpu="10m", memory="16Mi", memory_limit="64Mi"),
        startup=Probe(port="http", path="/config.json", period=1, failures=60),
        readiness=Probe(port="http", path="/config.json"),
        liveness=Probe(port="http", path="/config.json", period=30),
    )
    return Web(WEB_CLIENT, process, version=matrix.release.images[WEB_CLIENT])


def routes(matrix: Instance[MatrixSpec]) -> tuple[Route, ...]:
    """Where people and other servers come in. The administration API stays inside: commands reach it there."""
    spec = matrix.spec
    found = [
        Route(
            host=spec.host or "",
            component=SYNAPSE,
            port="http",
            paths=("/_matrix", "/_synapse/client", "/.well-known/matrix"),
            exact=("/",),
            largest_body=parse(spec.settings.max_upload_size),
        )
    ]
    if spec.web_client is not None:
        found.append(Route(spec.web_client.host, WEB_CLIENT, "http"))
    return tuple(found)


def refuse(app: App, spec: MatrixSpec, release: Release) -> Refusal | None:
    """What the schema cannot see, as it comes together from profiles and instance."""
    if spec.web_client is not None and WEB_CLIENT not in release.images:
        return Refusal(
            "WebClientUnavailable",
            f"spec.webClient: this release ({release.version}) comes without a web client; take webClient out and "
            f"use any Matrix client with https://{spec.host}",
        )
    if spec.web_client is not None and spec.web_client.host == spec.host:
        return Refusal(
            "SameHost",
            f"spec.webClient.host: {spec.host} is the homeserver's own host; the web client needs a name of its own, "
            f"or a malicious file served by one could act in the other",
        )
    if not spec.settings.password_login and spec.login is None:
        return Refusal(
            "NoLogin",
            "spec.settings.passwordLogin is false and spec.login is absent, so nobody could log in; set login to an "
            "identity provider, or passwordLogin to true",
        )
    return None


PACKAGE: Package[MatrixSpec] = Package(
    name="matrix",
    title="Matrix homeserver (Synapse)",
    kind=Matrix,
    releases=load_releases(HERE / "releases.yaml"),
    needs=needs,
    parts=parts,
    host_fields=("host", "webClient.host"),
    kept=(Kept("Secret", KEYS, "without the signing key no other server believes this one any more"),),
    refuse=refuse,
    commands=COMMANDS,
    excluded=(
        Excluded("the cache (Redis)", "Synapse fills it again by itself"),
        Excluded("the media folder", "every file in it is in the bucket before anybody is told that it was stored"),
    ),
    own_only=frozenset({"serverName", "webClient"}),
)
