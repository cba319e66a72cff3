"""PostgreSQL, Valkey, versitygw and Synapse out of their images for real, each without any privilege."""

from __future__ import annotations

import http.server
import json
import ssl
import subprocess
import threading
import urllib.request
from typing import Any, ClassVar

import pytest
from containers import Running, wait_for_port
from test_errand import TLS, certify

from libresh.drivers.embedded_postgresql import patroni

pytestmark = pytest.mark.e2e

DATA, SOCKETS, CREDENTIALS = "/var/lib/postgresql/data", "/var/run/postgresql", "/etc/libresh/credentials"
PASSWORD = "p'w\\$ \"x"
POSTGRES_ENV = {
    "PATH": "/opt/patroni/bin:/usr/lib/postgresql/17/bin:/usr/local/bin:/usr/bin:/bin",
    "PGDATA": f"{DATA}/pgdata",
    "LIBRESH_EXTENSIONS": "pg_trgm,unaccent",
    "LIBRESH_PATIENCE": "60",
}
POSTGRES_VOLUMES = [DATA, SOCKETS, CREDENTIALS]
SERVE = (
    f"exec postgres -c listen_addresses=127.0.0.1 -c port=18432 -c unix_socket_directories={SOCKETS}"
    " -c log_statement=all"
)


@pytest.fixture
def postgresql(container: Any) -> Running:
    running: Running = container("postgresql")
    running.volume(DATA).chmod(0o700)
    running.volume(CREDENTIALS, {"username": "matrix", "password": PASSWORD, "database": "matrix-db"})
    options = f"--locale=C.UTF-8 --encoding=UTF8 --username=postgres --pgdata={DATA}/pgdata"
    running.run(
        ["sh", "-c", f"initdb {options} --auth-local=trust --auth-host=scram-sha-256"], POSTGRES_VOLUMES, POSTGRES_ENV
    )
    running.start(["sh", "-c", SERVE], POSTGRES_VOLUMES, POSTGRES_ENV)
    wait_for_port(18432)
    return running


def roles(running: Running, *arguments: str, **env: str) -> str:
    env = {**POSTGRES_ENV, "PGPORT": "18432", **env}
    return running.run(["libresh-postgresql-roles", *arguments], POSTGRES_VOLUMES, env)


def query(running: Running, statement: str, password: str = PASSWORD) -> str:
    """A statement as the application: by its password, over TCP."""
    script = (
        "import os, psycopg\n"
        "where = 'host=127.0.0.1 port=18432 user=matrix dbname=matrix-db'\n"
        "c = psycopg.connect(where, password=os.environ['PW'])\n"
        f"print(c.execute({statement!r}).fetchall())"
    )
    return running.run(["python3", "-c", script], POSTGRES_VOLUMES, POSTGRES_ENV | {"PW": password}).strip()


def test_the_role_the_database_and_extensions_are_made_once(postgresql: Running) -> None:
    said = roles(postgresql, "on_start", "primary", "demo")
    assert "created role matrix" in said
    assert "created extension unaccent" in said
    assert roles(postgresql) == ""
    found = query(
        postgresql,
        "SELECT datcollate, datctype, pg_encoding_to_char(encoding) FROM pg_database"
        " WHERE datname = current_database()",
    )
    assert found == "[('C', 'C', 'UTF8')]"
    assert query(postgresql, "SELECT count(*) FROM pg_extension WHERE extname IN ('pg_trgm', 'unaccent')") == "[(2,)]"


def test_a_changed_password_reaches_the_server_and_never_its_log(postgresql: Running) -> None:
    roles(postgresql)
    postgresql.volume(CREDENTIALS, {"password": "another"})
    assert roles(postgresql) == "set the password of role matrix\n"
    assert query(postgresql, "SELECT 1", password="another") == "[(1,)]"
    server = postgresql.processes[-1] if len(postgresql.processes) == 1 else postgresql.processes[1]
    server.kill()
    log = server.communicate()[0].decode()
    assert "statement" in log
    assert "another" not in log
    assert "SCRAM-SHA-256$" not in log


@pytest.mark.parametrize("role", ["replica", "standby_leader"])
def test_a_replica_is_left_alone(postgresql: Running, role: str) -> None:
    assert roles(postgresql, "on_role_change", role, "demo") == ""


class FakeApi(http.server.BaseHTTPRequestHandler):
    """A fake of the API server: it has one ConfigMap and remembers what is written."""

    written: ClassVar[list[tuple[str, Any]]] = []

    def do_GET(self) -> None:
        config = json.dumps({"ttl": 30, "postgresql": {"use_pg_rewind": True}})
        self.answer({"metadata": {"resourceVersion": "7", "annotations": {"config": config}}})

    def do_PATCH(self) -> None:
        self.written.append((self.path, json.loads(self.rfile.read(int(self.headers["Content-Length"])))))
        self.answer({})

    def answer(self, body: Any) -> None:
        assert self.headers["Authorization"] == "Bearer token"
        data = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def test_the_only_member_brings_patronis_settings_before_it_starts(container: Any) -> None:
    running: Running = container("postgresql")
    authority = certify(running, "127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(running.volume(TLS) / "tls.crt", running.volume(TLS) / "tls.key")
    server = http.server.HTTPServer(("127.0.0.1", 0), FakeApi)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    account, folder = "/var/run/secrets/kubernetes.io/serviceaccount", "/etc/patroni"
    running.volume(account, {"namespace": "team", "token": "token", "ca.crt": authority})
    settings = {"postgresql": {"parameters": {"max_connections": 50}}}
    files = {"patroni.yaml": json.dumps({"scope": "db-pg"}), "dynamic.json": json.dumps(settings)}
    running.volume(folder, files | {patroni.MEMBER_TOOL: patroni.MEMBER_CODE, patroni.ALONE_TOOL: patroni.ALONE_CODE})
    where = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(server.server_address[1])}
    process = running.start(patroni.ALONE_COMMAND, [folder, account], POSTGRES_ENV | where)
    said = process.communicate(timeout=60)[0].decode()
    server.shutdown()
    assert "brought Patroni's settings up to date" in said
    assert "PatroniFatalException" in said, "Patroni is started then, here without a cluster to be in"
    ((path, body),) = FakeApi.written
    assert path == "/api/v1/namespaces/team/configmaps/db-pg-config"
    config = json.loads(body["metadata"]["annotations"]["config"])
    assert config == {"ttl": 30, "postgresql": {"use_pg_rewind": True, "parameters": {"max_connections": 50}}}


def test_valkey_asks_for_its_password(container: Any) -> None:
    running = container("valkey")
    config = "port 18379\nbind 127.0.0.1\naclfile /etc/valkey/users.acl\ndir /var/lib/valkey\nappendonly yes\n"
    running.volume("/etc/valkey", {"valkey.conf": config, "users.acl": "user default on >s3cret ~* &* +@all\n"})
    volumes = ["/etc/valkey", "/var/lib/valkey"]
    running.start(["valkey-server", "/etc/valkey/valkey.conf"], volumes)
    wait_for_port(18379)
    ask = "valkey-cli -p 18379 "
    assert "NOAUTH" in running.run(["sh", "-c", ask + "set a 1"], volumes)
    assert running.run(["sh", "-c", ask + "set a 1"], volumes, {"REDISCLI_AUTH": "s3cret"}).strip() == "OK"
    running.stop()
    running.start(["valkey-server", "/etc/valkey/valkey.conf"], volumes)
    wait_for_port(18379)
    assert running.run(["sh", "-c", ask + "get a"], volumes, {"REDISCLI_AUTH": "s3cret"}).strip() == "1"


def test_versitygw_keeps_objects_and_their_versions(container: Any) -> None:
    boto3 = pytest.importorskip("boto3")
    running = container("versitygw")
    data = "/var/lib/versitygw"
    command = [
        "versitygw",
        "--port=127.0.0.1:17070",
        "--health=/health",
        "posix",
        f"--versioning-dir={data}/versions",
        f"{data}/objects",
    ]
    running.run(["mkdir", "-p", f"{data}/objects/media", f"{data}/versions"], [data])
    running.start(command, [data], {"ROOT_ACCESS_KEY": "key", "ROOT_SECRET_KEY": "s3cret-s3cret"})
    wait_for_port(17070)
    s3 = boto3.client(
        "s3",
        endpoint_url="http://127.0.0.1:17070",
        aws_access_key_id="key",
        region_name="us-east-1",
        aws_secret_access_key="s3cret-s3cret",
    )
    s3.put_bucket_versioning(Bucket="media", VersioningConfiguration={"Status": "Enabled"})
    first = s3.put_object(Bucket="media", Key="a/b", Body=b"one")["VersionId"]
    s3.put_object(Bucket="media", Key="a/b", Body=b"two")
    assert s3.get_object(Bucket="media", Key="a/b")["Body"].read() == b"two"
    assert s3.get_object(Bucket="media", Key="a/b", VersionId=first)["Body"].read() == b"one"
    stranger = boto3.client(
        "s3",
        endpoint_url="http://127.0.0.1:17070",
        aws_access_key_id="key",
        aws_secret_access_key="wrong-wrong-wrong",
        region_name="us-east-1",
    )
    with pytest.raises(Exception, match="SignatureDoesNotMatch"):
        stranger.get_object(Bucket="media", Key="a/b")


SYNAPSE = """
server_name: acme.test
public_baseurl: https://acme.test/
report_stats: false
pid_file: /tmp/synapse.pid
signing_key_path: /var/lib/synapse/signing.key
media_store_path: /var/lib/synapse/media
registration_shared_secret: shared
macaroon_secret_key: macaroon
form_secret: form
suppress_key_server_warning: true
trusted_key_servers: []
database: {name: sqlite3, args: {database: /var/lib/synapse/homeserver.db}}
listeners:
- {port: 18008, type: http, bind_addresses: [127.0.0.1], resources: [{names: [client, health]}]}
"""


SYNAPSE_VOLUMES = ["/etc/synapse", "/var/lib/synapse"]
SYNAPSE_ENV = {"PATH": "/opt/synapse/bin:/usr/bin:/bin", "LD_PRELOAD": "libjemalloc.so.2"}
HOMESERVER = "http://127.0.0.1:18008"


def serve_synapse(running: Running) -> None:
    command = ["python", "-m", "synapse.app.homeserver", "-c", "/etc/synapse/homeserver.yaml"]
    running.start(command, SYNAPSE_VOLUMES, SYNAPSE_ENV)
    wait_for_port(18008, 180)


def log_in() -> str:
    who = {"type": "m.id.user", "user": "alice"}
    body = {"type": "m.login.password", "password": "correct horse", "identifier": who}
    request = urllib.request.Request(f"{HOMESERVER}/_matrix/client/v3/login", json.dumps(body).encode(), method="POST")
    with urllib.request.urlopen(request, timeout=60) as answer:
        return str(json.load(answer)["user_id"])


def test_synapse_serves_a_person_before_and_after_an_update_but_not_when_taken_back(container: Any) -> None:
    before, after = container("synapse-previous"), container("synapse")
    before.volume("/etc/synapse", {"homeserver.yaml": SYNAPSE})
    before.run(["generate_signing_key", "-o", "/var/lib/synapse/signing.key"], SYNAPSE_VOLUMES, SYNAPSE_ENV)
    serve_synapse(before)
    person = ["-u", "alice", "-p", "correct horse", "--no-admin", "-k", "shared"]
    before.run(["register_new_matrix_user", *person, HOMESERVER], SYNAPSE_VOLUMES, SYNAPSE_ENV)
    assert log_in() == "@alice:acme.test"
    before.stop()

    after.folder = before.folder
    serve_synapse(after)
    assert log_in() == "@alice:acme.test"
    after.stop()

    command = ["python", "-m", "synapse.app.homeserver", "-c", "/etc/synapse/homeserver.yaml"]
    refused = before.start(command, SYNAPSE_VOLUMES, SYNAPSE_ENV)
    output = refused.communicate(timeout=180)[0].decode(errors="replace")
    assert refused.returncode != 0
    assert "too new for the server" in output


def test_the_web_client_is_served_with_its_configuration(container: Any) -> None:
    running = container("hydrogen")
    original = (running.layers[-1] / "etc/nginx/nginx.conf").read_text()
    moved = original.replace("listen 8080", "listen 18088").replace("[::]:8080", "[::]:18088")
    running.volume("/etc/moved", {"nginx.conf": moved})
    running.volume("/etc/web-client", {"config.json": '{"defaultHomeServer": "https://matrix.acme.test"}'})
    running.start(["nginx", "-c", "/etc/moved/nginx.conf"], ["/etc/moved", "/etc/web-client"])
    wait_for_port(18088)
    kinds = {}
    for path in ("/", "/config.json", "/app.js", "/sw.js", "/assets/olm.wasm", "/assets/theme-element-light.css"):
        with urllib.request.urlopen(f"http://127.0.0.1:18088{path}", timeout=30) as answer:
            kinds[path] = answer.headers.get_content_type()
            assert answer.headers["Cache-Control"] == "no-cache"
            assert answer.read()
    assert kinds["/assets/olm.wasm"] == "application/wasm"
    assert kinds["/app.js"] in ("application/javascript", "text/javascript")
    assert kinds["/config.json"] == "application/json"


def test_no_image_has_a_privileged_file_or_a_key_in_it(container: Any) -> None:
    for name in ("postgresql", "mail", "synapse", "oidc", "valkey", "versitygw", "errand", "libresh"):
        for tree in container(name).layers:
            unwanted = ["-perm", "/6000"]
            for pattern in ("*snakeoil*", "*/machine-id", "*/apt/lists/*Packages*", "*/pip.conf", "*/.npmrc"):
                unwanted += ["-o", "-path", pattern]
            command = ["find", str(tree), "-type", "f", "(", *unwanted, ")"]
            found = subprocess.run(command, capture_output=True, text=True, check=True)
            assert found.stdout == "", name
