"""Synapse's configuration as pure data, with its secrets left open.

What each setting means: the Configuration Manual of Synapse. Only what differs from its defaults is written.
"""

from collections.abc import Mapping
from typing import Any

from libresh.api.quantity import parse
from libresh.apps.matrix.spec import MatrixSpec
from libresh.catalog.model import Instance
from libresh.catalog.text import Hidden, build_json, build_yaml
from libresh.plan.actions import From, Literal, Random, Value

SYNAPSE, KEYS, CONFIG, TOOLS, MEDIA = "synapse", "keys", "config", "tools", "media"
CONFIG_PATH, TOOLS_PATH, MEDIA_PATH = "/etc/synapse", "/opt/libresh", "/var/lib/synapse/media"
HTTP_PORT, METRICS_PORT = 8008, 9000
MAIL_MODES = ("none", "starttls", "tls")
"""The values that `tls` has in the connection of a mail account."""
VERIFIED = ("database", "cache", "objectStore")
"""What may come with an authority of its own."""
PROVIDER_ID = "sso"
"""Part of every account that came through the identity provider: it can never be changed."""

GENERATED = {
    "signing.key": Random(form="synapse-signing-key"),
    "macaroon-secret-key": Random(bytes=32),
    "form-secret": Random(bytes=32),
    "registration-shared-secret": Random(bytes=32),
}
HEAD = "Written by libre.sh: edit the Matrix object instead, changes here are undone."


LOGGING = Literal(
    build_json(
        {
            "version": 1,
            "formatters": {
                "plain": {"format": "%(asctime)s - %(name)s - %(lineno)d - %(levelname)s - %(request)s - %(message)s"}
            },
            "handlers": {
                "console": {"class": "logging.StreamHandler", "formatter": "plain", "stream": "ext://sys.stdout"}
            },
            "loggers": {
                # Statements carry people's words, and every request is in the edge's log already.
                "synapse.storage.SQL": {"level": "INFO"},
                "synapse.access": {"level": "WARNING"},
            },
            "root": {"level": "INFO", "handlers": ["console"]},
            "disable_existing_loggers": False,
        }
    )
)
"""To standard output, as everything in a cluster."""


def server_name(spec: MatrixSpec) -> str:
    """The domain of users and rooms."""
    return spec.server_name or spec.host or ""


def keys(matrix: Instance[MatrixSpec]) -> dict[str, Value]:
    """The generated secrets. Each has a copy in the configuration, from where it comes back if it is lost."""
    return {
        name: Random(value.bytes, value.form, recover=(matrix.secret_key(CONFIG, name),))
        for name, value in GENERATED.items()
    }


def files(matrix: Instance[MatrixSpec]) -> dict[str, Value]:
    """The files of the configuration, keys among them."""
    modes = MAIL_MODES if "mail" in matrix.bindings else ()
    return {
        "homeserver.yaml": build_yaml(homeserver(matrix), HEAD),
        "log.yaml": LOGGING,
        **{
            f"{role}-ca.crt": From(matrix.bindings[role].key("ca.crt"))
            for role in VERIFIED
            if has_authority(matrix, role)
        },
        **{f"mail-{mode}.yaml": build_yaml({"email": email(matrix, mode)}, HEAD) for mode in modes},
        **{name: From(matrix.secret_key(KEYS, name)) for name in GENERATED},
    }


def has_authority(matrix: Instance[MatrixSpec], role: str) -> bool:
    """Whether a service says whose word its certificate is to be believed on."""
    return "ca.crt" in matrix.bindings[role].keys


def authority(role: str) -> str:
    """The file that says it."""
    return f"{CONFIG_PATH}/{role}-ca.crt"


def arguments(matrix: Instance[MatrixSpec]) -> tuple[str, ...]:
    """Which files Synapse reads. Kubernetes fills in MAIL_TLS: the core does not know what the account asks for."""
    paths = ["homeserver.yaml", *(["mail-$(MAIL_TLS).yaml"] if "mail" in matrix.bindings else [])]
    return tuple(word for path in paths for word in ("--config-path", f"{CONFIG_PATH}/{path}"))


RATES = {
    # A household or an office comes from one address: thirty people there may log in at once. Synapse's own limits
    # for each account and for failed attempts stay: they are what protects people.
    "rc_login": {"address": {"per_second": 1, "burst_count": 30}},
}


def homeserver(matrix: Instance[MatrixSpec]) -> dict[str, Any]:
    """homeserver.yaml."""
    spec = matrix.spec
    sections = (
        identity(spec),
        listeners(spec),
        database(matrix),
        cache(matrix),
        media(matrix),
        accounts(matrix),
        federation(spec),
        login(matrix),
        RATES,
        secrets(),
        {"log_config": f"{CONFIG_PATH}/log.yaml", "report_stats": False},
    )
    return {key: value for section in sections for key, value in section.items()}


def identity(spec: MatrixSpec) -> dict[str, Any]:
    """Who the server is, and where clients find it."""
    found: dict[str, Any] = {
        "server_name": server_name(spec),
        "public_baseurl": f"https://{spec.host}/",
        # Meant for the host of server_name; where that is another one, its owner publishes the same two files.
        "serve_server_wellknown": spec.settings.federation,
    }
    if spec.web_client is not None:
        found["web_client_location"] = f"https://{spec.web_client.host}/"
    return found


def listeners(spec: MatrixSpec) -> dict[str, Any]:
    """The ports it answers on. TLS ends at the edge, which says whom it speaks for."""
    names = ["client", "federation"] if spec.settings.federation else ["client"]
    http = {
        "port": HTTP_PORT,
        "type": "http",
        "tls": False,
        "x_forwarded": True,
        "bind_addresses": ["0.0.0.0"],
        "resources": [{"names": names, "compress": False}],
    }
    metrics = {"port": METRICS_PORT, "type": "metrics", "bind_addresses": ["0.0.0.0"]}
    on = spec.settings.metrics
    return {"listeners": [http, *([metrics] if on else [])], "enable_metrics": on}


def cache(matrix: Instance[MatrixSpec]) -> dict[str, Any]:
    """The cache. Synapse does not look at its certificate; a module makes it."""
    cache = matrix.bindings["cache"]
    redis: dict[str, Any] = {
        "enabled": True,
        "host": Hidden(cache.key("host")),
        "port": Hidden(cache.key("port"), number=True),
        "password": Hidden(cache.key("password")),
    }
    if "username" in cache.keys:
        redis["username"] = Hidden(cache.key("username"))
    if "tls" in cache.keys:
        redis["use_tls"] = Hidden(cache.key("tls"), truth=True)
    if has_authority(matrix, "cache"):
        redis["ca_file"] = authority("cache")
    found: dict[str, Any] = {"redis": redis}
    if "tls-verify" in cache.keys:
        verify = {"verify": Hidden(cache.key("tls-verify"), truth=True)}
        found["modules"] = [{"module": "libresh_redis.VerifiedRedis", "config": verify}]
    return found


def database_tls(matrix: Instance[MatrixSpec]) -> dict[str, Any]:
    """How the connection to the database is secured, as libpq has it: as the database's owner says."""
    database = matrix.bindings["database"]
    found: dict[str, Any] = {
        key: Hidden(database.key(key)) for key in ("sslmode", "sslrootcert") if key in database.keys
    }
    return found | ({"sslrootcert": authority("database")} if has_authority(matrix, "database") else {})


def database(matrix: Instance[MatrixSpec]) -> dict[str, Any]:
    """The database."""
    database = matrix.bindings["database"]
    return {
        "database": {
            "name": "psycopg2",
            "args": {
                "user": Hidden(database.key("username")),
                "password": Hidden(database.key("password")),
                "dbname": Hidden(database.key("database")),
                "host": Hidden(database.key("host")),
                "port": Hidden(database.key("port"), number=True),
                **database_tls(matrix),
                "application_name": "synapse",
                "cp_min": 2,
                "cp_max": 10,
                # A server that vanished without a word is noticed soon: on an idle connection by keepalives, on one
                # that waits for an answer by how long what was sent may stay unacknowledged (else a quarter of an
                # hour).
                "connect_timeout": 10,
                "keepalives_idle": 10,
                "keepalives_interval": 5,
                "keepalives_count": 3,
                "tcp_user_timeout": 10_000,
            },
        },
    }


def media(matrix: Instance[MatrixSpec]) -> dict[str, Any]:
    """Files that people send: to the bucket before they are acknowledged, then off the local folder."""
    bucket = matrix.bindings["objectStore"]
    return {
        "media_store_path": MEDIA_PATH,
        "max_upload_size": parse(matrix.spec.settings.max_upload_size),
        "media_storage_providers": [
            {
                "module": "libresh_media.OffloadingBackend",
                "store_local": True,
                "store_remote": True,
                "store_synchronous": True,
                "config": {
                    "bucket": Hidden(bucket.key("bucket")),
                    "endpoint_url": Hidden(bucket.key("endpoint")),
                    "region_name": Hidden(bucket.key("region")),
                    "access_key_id": Hidden(bucket.key("access-key-id")),
                    "secret_access_key": Hidden(bucket.key("secret-access-key")),
                    **({"ca_file": authority("objectStore")} if has_authority(matrix, "objectStore") else {}),
                },
            }
        ],
        # Fetching whatever people link to reaches into the network Synapse stands in.
        "url_preview_enabled": False,
    }


def accounts(matrix: Instance[MatrixSpec]) -> dict[str, Any]:
    """Who may make an account, and who finds whom."""
    is_open = matrix.spec.settings.registration == "Open"
    verified = is_open and "mail" in matrix.bindings
    found: dict[str, Any] = {"enable_registration": is_open}
    if verified:
        found["registrations_require_3pid"] = ["email"]
    elif is_open:
        found["enable_registration_without_verification"] = True
    # Among people who were all let in by an administrator everybody may find everybody.
    found["user_directory"] = {"enabled": True, "search_all_users": not is_open, "prefer_local_users": True}
    return found


def federation(spec: MatrixSpec) -> dict[str, Any]:
    """Other homeservers."""
    if spec.settings.federation:
        # Whose word is taken for the keys of servers that are down; Synapse's own default, said to keep it quiet.
        return {"trusted_key_servers": [{"server_name": "matrix.org"}], "suppress_key_server_warning": True}
    return {
        "federation_domain_whitelist": [],
        "allow_public_rooms_over_federation": False,
        "trusted_key_servers": [],
    }


def login(matrix: Instance[MatrixSpec]) -> dict[str, Any]:
    """How people log in."""
    found: dict[str, Any] = {"password_config": {"enabled": matrix.spec.settings.password_login}}
    if "login" in matrix.bindings:
        found["oidc_providers"] = [provider(matrix)]
    return found


def provider(matrix: Instance[MatrixSpec]) -> dict[str, Any]:
    """The identity provider. Accounts that exist are not taken over: names there may be free to choose."""
    binding = matrix.bindings["login"]
    return {
        "idp_id": PROVIDER_ID,
        "idp_name": "Single sign-on",
        "discover": True,
        "issuer": Hidden(binding.key("issuer")),
        "client_id": Hidden(binding.key("client-id")),
        "client_secret": Hidden(binding.key("client-secret")),
        "scopes": ["openid", "profile", "email"],
        "allow_existing_users": False,
        "user_mapping_provider": {
            "config": {
                "localpart_template": "{{ user.preferred_username }}",
                "display_name_template": "{{ user.name }}",
                "email_template": "{{ user.email }}",
            }
        },
    }


def secrets() -> dict[str, Any]:
    """The generated secrets, each in a file beside this one."""
    return {
        "signing_key_path": f"{CONFIG_PATH}/signing.key",
        "macaroon_secret_key_path": f"{CONFIG_PATH}/macaroon-secret-key",
        "form_secret_path": f"{CONFIG_PATH}/form-secret",
        "registration_shared_secret_path": f"{CONFIG_PATH}/registration-shared-secret",
    }


def email(matrix: Instance[MatrixSpec], mode: str) -> dict[str, Any]:
    """Outgoing mail, for one way of securing the connection."""
    account = matrix.bindings["mail"]
    found: dict[str, Any] = {
        "smtp_host": Hidden(account.key("host")),
        "smtp_port": Hidden(account.key("port"), number=True),
    }
    if "username" in account.keys:
        found |= {"smtp_user": Hidden(account.key("username")), "smtp_pass": Hidden(account.key("password"))}
    return found | {
        "enable_tls": mode != "none",
        "require_transport_security": mode == "starttls",
        "force_tls": mode == "tls",
        "notif_from": Hidden(account.key("sender")),
        "app_name": "Matrix",
        "client_base_url": client_url(matrix.spec),
        "enable_notifs": True,
        "notif_for_new_users": False,
    }


def client_url(spec: MatrixSpec) -> str:
    """Where links in mails lead."""
    return f"https://{spec.web_client.host}" if spec.web_client else f"https://{spec.host}"


def web_client(matrix: Instance[MatrixSpec]) -> str:
    """The web client's config.json, in Element's spelling, which other clients understand, too."""
    spec = matrix.spec
    homeserver: Mapping[str, str] = {"base_url": f"https://{spec.host}", "server_name": server_name(spec)}
    return build_json(
        {
            "default_server_config": {"m.homeserver": homeserver},
            "disable_custom_urls": True,
            "disable_guests": True,
            "disable_3pid_login": "mail" not in matrix.bindings,
            "room_directory": {"servers": [server_name(spec)]},
        }
    )
