"""Synapse over services that speak TLS: with the configuration that its package renders, and real servers."""

from __future__ import annotations

import subprocess
import time
import urllib.error
import urllib.request
from typing import Any

import pytest
from containers import Running
from test_errand import (
    PG_ENV,
    PG_PORT,
    PG_VOLUMES,
    REDIS_PORT,
    ROOT,
    SOCKETS,
    TLS,
    certify,
    serve_postgresql,
    serve_valkey,
)

from apps.matrix.test_golden import SETTINGS, instance_of
from libresh.apps.matrix import config, package
from libresh.kube.minting import filled
from libresh.plan.actions import From, Literal, SecretKey, Template

pytestmark = pytest.mark.e2e

FOLDERS = [config.CONFIG_PATH, config.TOOLS_PATH, config.MEDIA_PATH]
ENV = {"PATH": "/opt/synapse/bin:/usr/bin:/bin", "PYTHONPATH": config.TOOLS_PATH, "PYTHONUNBUFFERED": "1"}
HEALTH = f"http://127.0.0.1:{config.HTTP_PORT}/health"
SPEC = {
    "host": "chat.example.org",
    "database": {"secret": "database"},
    "cache": {"secret": "cache"},
    "objectStore": {"secret": "objects"},
    "settings": {"federation": False},
}
SUBSCRIBED = "Successfully subscribed to redis"
"""Said once the server has let Synapse in; that it is connected it says before any certificate was looked at."""
KEYS = {"macaroon-secret-key": "m" * 32, "form-secret": "f" * 32, "registration-shared-secret": "r" * 32}


def connections(host: str, authority: str) -> dict[str, dict[str, str]]:
    """The connection secrets, by name."""
    common = {"host": host, "username": "root", "password": ROOT, "ca.crt": authority}
    return {
        "database": {**common, "port": str(PG_PORT), "database": "synapse", "sslmode": "verify-full"},
        "cache": {**common, "port": str(REDIS_PORT), "tls": "true", "tls-verify": "true"},
        "objects": {
            "ca.crt": authority,
            "bucket": "media",
            "endpoint": f"https://{host}:1",
            "region": "us-east-1",
            "access-key-id": "id",
            "secret-access-key": "secret",
        },
    }


def render(secrets: dict[str, dict[str, str]]) -> dict[str, str]:
    """The files of the configuration, as the operator fills them."""
    instance = instance_of(SPEC, SETTINGS)
    for role, binding in instance.bindings.items():
        given = secrets[binding.secret]
        instance.bindings[role] = type(binding)(  # type: ignore[index]
            role, binding.claim_kind, binding.namespace, binding.secret, "", frozenset(given)
        )
    found = {}
    for name, value in config.files(instance).items():
        if isinstance(value, Literal):
            found[name] = value.value
        elif isinstance(value, From) and value.source.name in secrets:
            found[name] = secrets[value.source.name][value.source.key]
        elif isinstance(value, Template):
            places = {key: place for key, place in value.values.items() if isinstance(place, SecretKey)}
            known = {key: secrets[place.name][place.key] for key, place in places.items()}
            found[name] = filled(value.text, known, value.quote)
    return found | KEYS


def servers(container: Any, address: str) -> str:
    """A database and a cache that speak TLS, with one certificate for an address; its authority."""
    database, cache = container("postgresql"), container("valkey")
    authority = certify(database, address)
    tls = {path.name: path.read_text() for path in database.volume(TLS).iterdir()}
    (cache.volume(TLS, tls) / "tls.key").chmod(0o600)
    # Nobody reads its log, and a full pipe would hold it up.
    serve_postgresql(
        database, "log_statement=none", "ssl=on", f"ssl_cert_file={TLS}/tls.crt", f"ssl_key_file={TLS}/tls.key"
    )
    make = "CREATE DATABASE synapse LOCALE 'C' TEMPLATE template0 ENCODING 'UTF8'"
    database.run(["psql", f"host={SOCKETS} port={PG_PORT} user=root dbname=postgres", "-c", make], PG_VOLUMES, PG_ENV)
    files = [f"tls-cert-file {TLS}/tls.crt", f"tls-key-file {TLS}/tls.key", f"tls-ca-cert-file {TLS}/ca.crt"]
    serve_valkey(
        cache, "port 0", f"tls-port {REDIS_PORT}", "tls-auth-clients no", *files, "aclfile /etc/valkey/users.acl"
    )
    return authority


def synapse(container: Any, secrets: dict[str, dict[str, str]]) -> Running:
    running: Running = container("synapse")
    running.volume(config.MEDIA_PATH)
    running.volume(config.TOOLS_PATH, package.TOOL_FILES)
    running.volume(config.CONFIG_PATH, render(secrets))
    running.run(["generate_signing_key", "-o", f"{config.CONFIG_PATH}/signing.key"], FOLDERS, ENV)
    return running


def migrate(running: Running) -> tuple[int, str]:
    command = ["update_synapse_database", "--database-config", f"{config.CONFIG_PATH}/homeserver.yaml"]
    process = running.start(command, FOLDERS, ENV)
    try:
        output = process.communicate(timeout=120)[0].decode(errors="replace")
    except subprocess.TimeoutExpired as late:
        raise AssertionError((late.stdout or b"").decode(errors="replace")[-3000:]) from late
    return process.returncode, output


def until_healthy(seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            urllib.request.urlopen(HEALTH, timeout=5).close()
            return
        except (OSError, urllib.error.URLError):
            assert time.monotonic() < deadline, "Synapse does not answer"
            time.sleep(0.5)


def cache_log(running: Running, *, until: str, seconds: float = 60) -> str:
    """What Synapse says of its cache while it runs, until it says certain words."""
    process = running.start(
        ["python", f"{config.TOOLS_PATH}/libresh_start.py", "--config-path", f"{config.CONFIG_PATH}/homeserver.yaml"],
        FOLDERS,
        ENV,
    )
    until_healthy()
    said, deadline = "", time.monotonic() + seconds
    assert process.stdout is not None
    while until not in said:
        assert time.monotonic() < deadline, said[-4000:]
        said += process.stdout.readline().decode(errors="replace")
    process.kill()
    process.communicate()
    return said


def test_verified_services_are_used(container: Any) -> None:
    secrets = connections("127.0.0.1", servers(container, "127.0.0.1"))
    running = synapse(container, secrets)
    code, output = migrate(running)
    assert code == 0, output
    assert "lost:" not in cache_log(running, until=SUBSCRIBED)


def test_services_of_another_name_are_not(container: Any) -> None:
    authority = servers(container, "127.0.0.2")
    running = synapse(container, connections("127.0.0.1", authority))
    code, output = migrate(running)
    assert code != 0
    assert 'certificate for "test"' in output or "does not match host name" in output
    secrets = connections("127.0.0.1", authority)
    secrets["database"] |= {"sslmode": "require"}
    running = synapse(container, secrets)
    assert migrate(running)[0] == 0
    said = cache_log(running, until="lost:")
    assert SUBSCRIBED not in said
