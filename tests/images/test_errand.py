"""Errands for real: PostgreSQL and Valkey out of their images, and the program that makes accounts on them."""

from __future__ import annotations

import ipaddress
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from containers import Running, wait_for_port
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from errands import ENV, PYTHON, ROOT, Errands

pytestmark = pytest.mark.e2e

PG_PORT, REDIS_PORT = 18532, 18479
DATA, SOCKETS = "/var/lib/postgresql/data", "/var/run/postgresql"
PG_ENV = {"PATH": "/usr/lib/postgresql/17/bin:/opt/patroni/bin:/usr/bin:/bin", "PGDATA": f"{DATA}/pgdata"}
PG_VOLUMES = [DATA, SOCKETS]
TLS = "/etc/tls"


@pytest.fixture
def errand(container: Any) -> Callable[..., Errands]:
    running = container("errand")
    return lambda program, **order: Errands(running, program, **order)


def python(errands: Errands, script: str, **env: str) -> str:
    """A client in the errand's image."""
    return errands.running.run([PYTHON, "-c", script], [], ENV | env).strip()


def certify(server: Running, address: str) -> str:
    """Gives a server a certificate for an address, of an authority of its own, which is returned."""
    now, key = datetime.now(UTC), ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    alternative = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(alternative, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate = made.public_bytes(serialization.Encoding.PEM).decode()
    plain = serialization.NoEncryption()
    secret = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain).decode()
    folder = server.volume(TLS, {"tls.crt": certificate, "ca.crt": certificate, "tls.key": secret})
    (folder / "tls.key").chmod(0o600)
    return certificate


# --- PostgreSQL --------------------------------------------------------------------------------------------------


@pytest.fixture
def postgresql(container: Any) -> Running:
    return serve_postgresql(container("postgresql"))


def serve_postgresql(running: Running, *settings: str) -> Running:
    running.volume(DATA).chmod(0o700)
    running.volume("/secret", {"root": ROOT})
    options = f"--locale=C.UTF-8 --encoding=UTF8 --username=root --pgdata={DATA}/pgdata --pwfile=/secret/root"
    running.run(
        ["sh", "-c", f"initdb {options} --auth-local=trust --auth-host=scram-sha-256"],
        [*PG_VOLUMES, "/secret"],
        PG_ENV,
    )
    serve = (
        f"exec postgres -c listen_addresses=127.0.0.1 -c port={PG_PORT} -c unix_socket_directories={SOCKETS}"
        " -c log_statement=all"
    )
    serve += "".join(f" -c {setting}" for setting in settings)
    running.start(["sh", "-c", serve], [*PG_VOLUMES, TLS], PG_ENV)
    wait_for_port(PG_PORT)
    return running


def pg_order(role: str, **more: Any) -> dict[str, Any]:
    return {
        "port": PG_PORT,
        "for": f"PostgreSQL team/{role}",
        "cluster": "one",
        "maintenance": "postgres",
        "role": role,
        "database": role,
        "version": "17",
        "locale": "C",
        "extensions": [],
        "allowed": [],
        **more,
    }


def query(errands: Errands, user: str, password: str, statement: str, database: str = "") -> str:
    """What a client gets, or the first line of what it is told instead."""
    script = (
        "import os, psycopg\n"
        "try:\n"
        f"    c = psycopg.connect(host='127.0.0.1', port={PG_PORT}, user={user!r}, dbname={database or user!r},\n"
        "                        password=os.environ['PW'], autocommit=True, connect_timeout=5)\n"
        f"    found = c.execute({statement!r})\n"
        "    print(found.fetchall() if found.description else 'done')\n"
        "except psycopg.Error as error:\n"
        "    print('refused:', str(error).splitlines()[0])\n"
    )
    return python(errands, script, PW=password)


def everything_on(errands: Errands) -> str:
    """Roles and databases beyond those of a new server."""
    names = "SELECT rolname FROM pg_roles WHERE rolname NOT LIKE 'pg_%' AND rolname <> 'root'"
    names += " UNION SELECT datname FROM pg_database WHERE datname NOT IN ('postgres', 'template0', 'template1')"
    return query(errands, "root", ROOT, f"{names} ORDER BY 1", "postgres")


def test_a_database_is_made_again_and_again_and_dropped(errand: Any, postgresql: Running) -> None:
    errands = errand("postgresql", **pg_order("team_a"))
    for _ in range(2):
        assert errands.do("provide", extensions=["pg_trgm"]) == 0, errands.words
    facts = "SELECT datcollate, datctype, pg_encoding_to_char(encoding), current_user FROM pg_database"
    found = query(errands, "team_a", "first", f"{facts} WHERE datname = current_database()")
    assert found == "[('C', 'C', 'UTF8', 'team_a')]"
    assert query(errands, "team_a", "first", "CREATE TABLE t AS SELECT similarity('a', 'b')") == "done"
    assert "password authentication failed" in query(errands, "team_a", "wrong", "SELECT 1")
    for _ in range(2):
        assert errands.do("remove", passwords=[]) == 0, errands.words
    assert everything_on(errands) == "[]"


def test_two_databases_are_apart(errand: Any, postgresql: Running) -> None:
    one, other = errand("postgresql", **pg_order("team_a")), errand("postgresql", **pg_order("team_b"))
    assert one.do("provide", "of-a") == other.do("provide", "of-b") == 0
    assert "permission denied for database" in query(one, "team_a", "of-a", "SELECT 1", "team_b")
    assert "permission denied" in query(one, "team_a", "of-a", "CREATE DATABASE more")
    assert "permission denied" in query(one, "team_a", "of-a", "CREATE ROLE more")
    assert "permission denied" in query(one, "team_a", "of-a", "SELECT rolpassword FROM pg_authid")
    assert one.do("remove", passwords=[]) == 0
    assert everything_on(one) == "[('team_b',)]"
    assert query(other, "team_b", "of-b", "SELECT 1") == "[(1,)]"


def test_a_new_password_takes_the_old_ones_place_and_neither_is_in_the_log(errand: Any, postgresql: Running) -> None:
    errands = errand("postgresql", **pg_order("team_a"))
    assert errands.do("provide", "the-old-one") == 0
    keys = ["password", "password-2"]
    assert errands.do("provide", "the-old-one", secrets={"password-2": "the-new-one"}, passwords=keys) == 0
    assert "authentication failed" in query(errands, "team_a", "the-old-one", "SELECT 1")
    assert query(errands, "team_a", "the-new-one", "SELECT 1") == "[(1,)]"
    server = postgresql.processes[-1]
    server.kill()
    log = server.communicate()[0].decode()
    assert "CREATE ROLE" in log
    assert "the-old-one" not in log
    assert "the-new-one" not in log


def test_an_administrator_without_superpowers_is_enough(errand: Any, postgresql: Running) -> None:
    errands = errand("postgresql", **pg_order("team_a"))
    assert (
        query(errands, "root", ROOT, "CREATE ROLE less LOGIN CREATEDB CREATEROLE PASSWORD 'less'", "postgres") == "done"
    )
    less = {"admin-username": "less", "admin-password": "less"}
    assert errands.do("provide", secrets=less, extensions=["pg_trgm"]) == 0, errands.words
    assert query(errands, "team_a", "first", "CREATE TABLE t AS SELECT 1") == "done"
    assert errands.do("remove", secrets=less, passwords=[]) == 0, errands.words
    assert everything_on(errands) == "[('less',)]"


@pytest.mark.parametrize(
    ("order", "said"),
    [
        ({"version": "16"}, "spec.parameters.version: 16 is asked for, but 127.0.0.1:18532 is PostgreSQL 17"),
        ({"extensions": ["postgis"]}, "spec.parameters.extensions: postgis is not installed on 127.0.0.1:18532"),
        (
            {"extensions": ["dblink"]},
            "ServiceClass outside does not allow dblink, which PostgreSQL does not call trusted",
        ),
        ({"locale": "xx_XX"}, "spec.parameters.locale: 127.0.0.1:18532 has no locale xx_XX"),
    ],
)
def test_what_the_server_has_not_is_refused_by_its_field(
    errand: Any, postgresql: Running, order: dict[str, Any], said: str
) -> None:
    errands = errand("postgresql", **pg_order("team_a"))
    assert errands.do("provide", **order) == 3
    assert said in errands.words
    assert errands.do("remove", passwords=[]) == 0
    assert everything_on(errands) == "[]"


def test_a_listed_extension_is_made_by_the_administrator(errand: Any, postgresql: Running) -> None:
    errands = errand("postgresql", **pg_order("team_a", extensions=["dblink", "hstore"], allowed=["dblink"]))
    assert errands.do("provide") == 0, errands.words
    owners = "SELECT extname, pg_get_userbyid(extowner) FROM pg_extension WHERE extname <> 'plpgsql' ORDER BY 1"
    assert query(errands, "team_a", "first", owners) == "[('dblink', 'root'), ('hstore', 'team_a')]"


def test_a_database_that_is_there_keeps_its_locale(errand: Any, postgresql: Running) -> None:
    errands = errand("postgresql", **pg_order("team_a"))
    assert errands.do("provide") == 0
    assert errands.do("provide", locale="C.UTF-8") == 3
    assert "the database that is there has C, C and UTF8" in errands.words


def test_what_somebody_else_made_is_left_alone(errand: Any, postgresql: Running) -> None:
    errands = errand("postgresql", **pg_order("team_a"))
    assert query(errands, "root", ROOT, "CREATE ROLE team_a", "postgres") == "done"
    for task in ("provide", "remove"):
        assert errands.do(task) == 3
        assert "has a role team_a that libre.sh did not make for PostgreSQL team/team_a" in errands.words
    assert query(errands, "root", ROOT, "DROP ROLE team_a", "postgres") == "done"
    assert query(errands, "root", ROOT, "CREATE DATABASE team_a", "postgres") == "done"
    assert errands.do("provide") == 3
    assert "has a database team_a that belongs to root" in errands.words


def test_what_another_cluster_made_is_left_alone_until_it_is_handed_over(errand: Any, postgresql: Running) -> None:
    errands = errand("postgresql", **pg_order("team_a"))
    assert errands.do("provide") == 0, errands.words
    for task in ("provide", "remove"):
        assert errands.do(task, "theirs", cluster="two") == 3, errands.words
        assert "another cluster made for its own PostgreSQL team/team_a (one)" in errands.words
        assert "set namePrefix" in errands.words
    assert query(errands, "team_a", "first", "SELECT 1") == "[(1,)]"
    statement = errands.words.rpartition("this one may have it: ")[2]
    assert query(errands, "root", ROOT, statement, "postgres") == "done"
    assert errands.do("provide", cluster="two") == 0, errands.words
    assert errands.do("provide") == 3


def test_a_mark_of_earlier_days_is_completed(errand: Any, postgresql: Running) -> None:
    errands = errand("postgresql", **pg_order("team_a"))
    assert errands.do("provide") == 0, errands.words
    earlier = "COMMENT ON ROLE team_a IS 'libre.sh: PostgreSQL team/team_a'"
    assert query(errands, "root", ROOT, earlier, "postgres") == "done"
    assert errands.do("provide") == 0, errands.words
    assert errands.do("provide", cluster="two") == 3


def test_whoever_is_connected_does_not_keep_a_database_from_going(errand: Any, postgresql: Running) -> None:
    errands = errand("postgresql", **pg_order("team_a"))
    assert errands.do("provide") == 0
    script = (
        "import psycopg, time\n"
        f"c = psycopg.connect(host='127.0.0.1', port={PG_PORT}, user='team_a', dbname='team_a', password='first')\n"
        "print('in', flush=True)\n"
        "time.sleep(60)\n"
    )
    client = errands.running.start([PYTHON, "-c", script], [], ENV)
    assert client.stdout is not None
    assert client.stdout.readline() == b"in\n"
    assert errands.do("remove", passwords=[]) == 0, errands.words
    assert everything_on(errands) == "[]"


def test_a_wrong_administrator_and_an_absent_server_are_told(errand: Any, postgresql: Running) -> None:
    errands = errand("postgresql", **pg_order("team_a"))
    assert errands.do("provide", secrets={"admin-password": "not-it"}) == 1
    assert "does not let the administrator in: password authentication failed" in errands.words
    assert "not-it" not in errands.words
    assert errands.do("provide", port=1) == 1
    assert "127.0.0.1:1 does not let the administrator in: Connection refused" in errands.words
    assert errands.do("provide", tls="require") == 1
    assert "server does not support SSL" in errands.words


def test_killed_at_any_moment_it_is_done_again(errand: Any, postgresql: Running) -> None:
    errands = errand("postgresql", **pg_order("team_a", extensions=["pg_trgm"]))
    started = time.monotonic()
    assert errands.do("provide") == 0
    whole = time.monotonic() - started
    assert errands.do("remove", passwords=[]) == 0
    for task in ("provide", "remove"):
        for part in range(1, 6):
            process = errands.begin(task, {"password": "first"})
            time.sleep(whole * part / 6)
            process.kill()
            process.wait()
        assert errands.do(task) == 0, errands.words
        assert everything_on(errands) == ("[('team_a',)]" if task == "provide" else "[]")


def test_the_servers_certificate_is_checked_where_it_is_to_be(errand: Any, container: Any) -> None:
    server: Running = container("postgresql")
    authority = certify(server, "127.0.0.1")
    serve_postgresql(server, "ssl=on", f"ssl_cert_file={TLS}/tls.crt", f"ssl_key_file={TLS}/tls.key")
    errands = errand("postgresql", **pg_order("team_a"))
    assert errands.do("provide", tls="require") == 0, errands.words
    assert errands.do("provide", tls="verify-full", secrets={"ca.crt": authority}) == 0, errands.words
    assert errands.do("provide", tls="verify-full") == 1
    assert "certificate verify failed" in errands.words
    assert errands.do("provide", tls="verify-full", secrets={"ca.crt": authority}, host="localhost") == 1
    assert 'does not match host name "localhost"' in errands.words


# --- Valkey ------------------------------------------------------------------------------------------------------


def serve_valkey(running: Running, *more: str) -> None:
    running.volume("/etc/valkey", {"users.acl": f"user default off\nuser root on >{ROOT} ~* &* +@all\n"})
    config = [f"port {REDIS_PORT}", "bind 127.0.0.1", "dir /var/lib/valkey", "enable-debug-command yes", *more]
    running.volume("/etc/valkey", {"valkey.conf": "\n".join(config) + "\n"})
    start_valkey(running)


def start_valkey(running: Running) -> None:
    running.start(["valkey-server", "/etc/valkey/valkey.conf"], ["/etc/valkey", "/var/lib/valkey", TLS])
    wait_for_port(REDIS_PORT)


@pytest.fixture
def valkey(container: Any) -> Running:
    running: Running = container("valkey")
    serve_valkey(running, "aclfile /etc/valkey/users.acl", 'save ""')
    return running


def redis_order(name: str, **more: Any) -> dict[str, Any]:
    order = {"user": f"team.{name}", "prefix": f"team:{name}:", "persistence": False}
    return {"port": REDIS_PORT, "for": f"Redis team/{name}", "cluster": "one", **order, **more}


def tell(errands: Errands, user: str, password: str, *commands: str, database: int = 0) -> list[str]:
    """What a client gets for each command, or what it is told instead."""
    script = (
        "import os, redis, json\n"
        f"c = redis.Redis('127.0.0.1', {REDIS_PORT}, db={database}, username={user!r}, password=os.environ['PW'],\n"
        "                decode_responses=True)\n"
        f"for command in {list(commands)!r}:\n"
        "    try:\n"
        "        print(json.dumps(c.execute_command(*command.split()), default=str))\n"
        "    except redis.RedisError as error:\n"
        "        print('refused:', type(error).__name__, str(error))\n"
    )
    return python(errands, script, PW=password).splitlines()


def users_on(errands: Errands) -> list[str]:
    (found,) = tell(errands, "root", ROOT, "ACL USERS")
    users: list[str] = json.loads(found)
    return [name for name in users if name.startswith("team")]


def test_a_user_is_made_again_and_again_outlives_the_server_and_goes(errand: Any, valkey: Running) -> None:
    errands = errand("redis", **redis_order("a"))
    for _ in range(2):
        assert errands.do("provide") == 0, errands.words
    assert tell(errands, "team.a", "first", "SET team:a:x 1", "GET team:a:x", "PUBLISH team:a:c hi") == [
        "true",
        '"1"',
        "0",
    ]
    assert tell(errands, "team.a", "first", "SET team:a:y 1", database=3) == ["true"]
    assert tell(errands, "team.a", "wrong", "PING")[0].startswith("refused: AuthenticationError")
    valkey.stop()
    start_valkey(valkey)
    assert tell(errands, "team.a", "first", "SET team:a:x 1", "INFO server")[0] == "true"
    assert tell(errands, "root", ROOT, "SET other 1", "SET team:ab:x 1") == ["true", "true"]
    for _ in range(2):
        assert errands.do("remove", passwords=[]) == 0, errands.words
    assert users_on(errands) == []
    assert sorted(json.loads(tell(errands, "root", ROOT, "KEYS *")[0])) == ["other", "team:ab:x"]
    assert tell(errands, "root", ROOT, "KEYS *", database=3) == ["[]"]


HARMFUL = (
    "GET team:b:x",
    "SET team:b:x 1",
    "DEL team:b:x",
    "RENAME team:a:x team:b:x",
    "COPY team:b:x team:a:y",
    "SORT team:a:list BY team:b:*",
    "EVAL return(redis.call('get','team:b:x')) 0",
    "KEYS *",
    "SCAN 0",
    "RANDOMKEY",
    "FLUSHALL",
    "FLUSHDB",
    "SWAPDB 0 1",
    "PUBLISH team:b:c hi",
    "PUBSUB CHANNELS",
    "FUNCTION LIST",
    "FUNCTION FLUSH",
    "SCRIPT FLUSH",
    "CONFIG GET *",
    "ACL LIST",
    "ACL SETUSER team.a allkeys",
    "CLIENT LIST",
    "MONITOR",
    "DEBUG SLEEP 0",
    "SHUTDOWN NOSAVE",
    "SAVE",
    "MODULE LIST",
    "REPLICAOF NO ONE",
)


def test_a_user_of_another_cluster_is_left_alone(errand: Any, valkey: Running) -> None:
    errands = errand("redis", **redis_order("a"))
    assert errands.do("provide") == 0, errands.words
    for task in ("provide", "remove"):
        assert errands.do(task, "theirs", cluster="two") == 3
        assert "another cluster made for its own Redis team/a (one)" in errands.words
    assert tell(errands, "team.a", "first", "SET team:a:x 1", "GET team:a:x") == ["true", '"1"']
    assert "NoPermission" in tell(errands, "team.a", "first", "SET libre.sh:cluster:one 1")[0]
    assert errands.do("provide") == 0, errands.words
    assert errands.do("remove", passwords=[]) == 0, errands.words
    assert errands.do("provide", cluster="two") == 0, errands.words


def test_two_users_are_apart(errand: Any, valkey: Running) -> None:
    one, other = errand("redis", **redis_order("a")), errand("redis", **redis_order("b"))
    assert one.do("provide", "of-a") == other.do("provide", "of-b") == 0
    assert tell(other, "team.b", "of-b", "SET team:b:x secret") == ["true"]
    assert tell(one, "team.a", "of-a", "SET team:a:x 1", "RPUSH team:a:list 1") == ["true", "1"]
    told = tell(one, "team.a", "of-a", *HARMFUL)
    answers = dict(zip(HARMFUL, told, strict=True))
    assert {c: a for c, a in answers.items() if not (a.startswith("refused") and "permission" in a)} == {}
    fine = (
        "SORT team:a:list",
        "EVAL return(1) 0",
        "DBSIZE",
        "TYPE team:a:x",
        "HSET team:a:h f 1",
        "XADD team:a:s * f 1",
    )
    assert not [answer for answer in tell(one, "team.a", "of-a", *fine) if answer.startswith("refused")]
    assert one.do("remove", passwords=[]) == 0
    assert tell(other, "team.b", "of-b", "GET team:b:x") == ['"secret"']


def test_two_passwords_work_until_the_old_one_is_taken_away(errand: Any, valkey: Running) -> None:
    errands = errand("redis", **redis_order("a"))
    both, keys = {"password": "old-one", "password-2": "new-one"}, ["password", "password-2"]
    assert errands.do("provide", "old-one") == 0
    assert errands.do("provide", "old-one", secrets=both, passwords=keys) == 0
    assert tell(errands, "team.a", "old-one", "PING") == tell(errands, "team.a", "new-one", "PING") == ["true"]
    assert errands.do("provide", "new-one", secrets={"password-2": "new-one"}, passwords=["password-2"]) == 0
    assert tell(errands, "team.a", "old-one", "PING")[0].startswith("refused: AuthenticationError")
    assert tell(errands, "team.a", "new-one", "PING") == ["true"]


def test_a_server_that_forgets_its_users_is_refused(errand: Any, container: Any) -> None:
    running = container("valkey")
    serve_valkey(running, f"user root on >{ROOT} ~* &* +@all")
    errands = errand("redis", **redis_order("a"))
    assert errands.do("provide") == 3
    assert "127.0.0.1:18479 has no ACL file, so it would forget the user when it restarts" in errands.words
    assert users_on(errands) == []


def test_what_the_server_has_not_and_a_wrong_administrator_are_told(errand: Any, valkey: Running) -> None:
    errands = errand("redis", **redis_order("a"))
    assert errands.do("provide", persistence=True) == 3
    assert "spec.parameters.persistence: 127.0.0.1:18479 keeps nothing over a restart" in errands.words
    assert errands.do("provide", secrets={"admin-password": "not-it"}) == 1
    assert "127.0.0.1:18479 does not let us in" in errands.words
    assert errands.do("provide", port=1) == 1
    assert "127.0.0.1:1 cannot be reached" in errands.words
    assert "Connection refused" in errands.words


def test_the_certificate_of_a_cache_is_checked_where_it_is_to_be(errand: Any, container: Any) -> None:
    server: Running = container("valkey")
    authority = certify(server, "127.0.0.1")
    files = [f"tls-cert-file {TLS}/tls.crt", f"tls-key-file {TLS}/tls.key", f"tls-ca-cert-file {TLS}/ca.crt"]
    tls = ["port 0", f"tls-port {REDIS_PORT}", "tls-auth-clients no", *files]
    serve_valkey(server, "aclfile /etc/valkey/users.acl", *tls)
    errands = errand("redis", **redis_order("a"))
    assert errands.do("provide", tls="require") == 0, errands.words
    assert errands.do("provide", tls="verify-full", secrets={"ca.crt": authority}) == 0, errands.words
    assert errands.do("provide", tls="verify-full") == 1
    assert "certificate verify failed" in errands.words
    assert errands.do("provide", tls="verify-full", secrets={"ca.crt": authority}, host="localhost") == 1
    assert "localhost" in errands.words
    assert errands.do("remove", tls="require", passwords=[]) == 0, errands.words


def test_many_keys_go_and_killed_at_any_moment_it_is_done_again(errand: Any, valkey: Running) -> None:
    errands = errand("redis", **redis_order("a"))
    for task in ("provide", "remove"):
        if task == "remove":
            script = "for i = 1, 50000 do redis.call('set', 'team:a:' .. i, i) end"
            client = f"redis.Redis('127.0.0.1', {REDIS_PORT}, username='root', password='{ROOT}')"
            python(errands, f"import redis; {client}.eval({script!r}, 0)")
        for part in range(1, 7):
            process = errands.begin(task, {"password": "first"})
            time.sleep(0.08 * part)
            process.kill()
            process.wait()
        assert errands.do(task) == 0, errands.words
    assert users_on(errands) == []
    assert tell(errands, "root", ROOT, "DBSIZE") == ["0"]
