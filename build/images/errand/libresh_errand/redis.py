"""An ACL user on a Redis or Valkey server, made as declared or removed. Everything may be done again.

    keys and channels      those that begin with the prefix
    commands               all but what administers the server, what touches or shows everybody's keys (FLUSHALL, KEYS,
                           SCAN, RANDOMKEY, PUBSUB), and what is stored for everybody (FUNCTION)

Users live in the server's memory. They are saved in its ACL file; a server without one would forget them when it
restarts, and is refused.
"""

import hashlib
import re

import redis

from libresh_errand.errand import CONNECT_TIMEOUT, PATIENCE, Refused, Trouble, first_line

COMMANDS = (
    "+@all",
    "-@admin",
    "-@dangerous",
    "+info",
    "+sort",
    "+sort_ro",
    "-scan",
    "-randomkey",
    "-pubsub",
    "-function",
    "-script|flush",
    "-script|kill",
)
"""SORT may look up other keys only where the user may read these (Redis 7)."""
CLUSTER = "libre.sh:cluster:"
"""A key that nobody can write and the user may read says whose the user is. No prefix of a claim has a dot before its
first colon."""
OF_CLUSTER = re.compile(re.escape(CLUSTER) + r"([-\w]+)")
BATCH = 1000
OLDEST = 7


def provide(errand):
    server = connected(errand, errand.secret("admin-username"), errand.secret("admin-password"))
    check_server(server, errand)
    check_ours(server, errand)
    set_user(server, errand)
    check_login(errand)


def remove(errand):
    server = connected(errand, errand.secret("admin-username"), errand.secret("admin-password"))
    user = errand["user"]
    if check_ours(server, errand):
        # Whoever is connected goes first: what is removed must not be written again.
        ask(errand, server.execute_command, "ACL SETUSER", user, "off", "resetpass")
        ask(errand, server.execute_command, "CLIENT KILL", "USER", user)
    remove_keys(errand)
    ask(errand, server.execute_command, "ACL DELUSER", user)
    save(server, errand)


def connected(errand, username, password, database=0):
    """A client; it connects when it is first asked."""
    tls = {}
    if errand["tls"] != "disable":
        verify = errand["tls"] == "verify-full"
        tls = {
            "ssl": True,
            "ssl_cert_reqs": "required" if verify else "none",
            "ssl_check_hostname": verify,
            "ssl_ca_certs": errand.authority if verify else None,
        }
    return redis.Redis(
        host=errand["host"],
        port=errand["port"],
        db=database,
        username=username,
        password=password,
        socket_connect_timeout=CONNECT_TIMEOUT,
        socket_timeout=PATIENCE,
        client_name="libresh",
        decode_responses=True,
        **tls,
    )


def ask(errand, command, *arguments):
    """Asks the server; what it says against it is told without the arguments."""
    try:
        return command(*arguments)
    except redis.AuthenticationError as error:
        raise Trouble(f"{errand.server} does not let us in: {first_line(error)}") from None
    except (redis.ConnectionError, redis.TimeoutError, OSError) as error:
        raise Trouble(f"{errand.server} cannot be reached: {reason_of(error)}") from None
    except redis.ReadOnlyError:
        raise Refused(f"{errand.server} is a replica that takes no writes; name the primary in the class") from None
    except redis.NoPermissionError as error:
        raise Refused(f"{errand.server}: the administrator may not do what is needed: {first_line(error)}") from None
    except redis.RedisError as error:
        raise Trouble(f"{errand.server}: {first_line(error)}") from None


def reason_of(error):
    """Why a connection failed; redis-py puts the address in front."""
    return first_line(error).rstrip(".")


def check_server(server, errand):
    """Whether it is one that can hold users, and keeps them."""
    about = ask(errand, server.info, "server")
    version = str(about.get("valkey_version") or about.get("redis_version") or "0")
    if int(version.partition(".")[0]) < OLDEST:
        raise Refused(f"{errand.server} is version {version}: {OLDEST} is the oldest whose users can be kept apart")
    settings = ask(errand, server.config_get, "aclfile", "appendonly", "save")
    if not settings.get("aclfile"):
        raise Refused(
            f"{errand.server} has no ACL file, so it would forget the user when it restarts; set aclfile in its "
            f"configuration"
        )
    if errand["persistence"] and settings.get("appendonly") != "yes" and not settings.get("save"):
        raise Refused(
            f"spec.parameters.persistence: {errand.server} keeps nothing over a restart; do without, or name another "
            f"class"
        )


def check_ours(server, errand):
    """Whether the user is there. One that another cluster made for a claim of the same name is left alone."""
    found = ask(errand, server.execute_command, "ACL GETUSER", errand["user"])
    cluster = OF_CLUSTER.search(str((found or {}).get("keys")))
    if cluster and cluster[1] != errand["cluster"]:
        raise Refused(
            f"{errand.server} has a user {errand['user']} that another cluster made for its own {errand['for']} "
            f"({cluster[1]}): it is left alone; set namePrefix in a class of its own for each cluster. If that cluster "
            f"is no more, remove the user with ACL DELUSER, and it is made anew; its keys stay"
        )
    return found is not None


def set_user(server, errand):
    """The user as declared, in one command: nobody ever sees half of it. Hashes travel, not passwords."""
    digests = [hashlib.sha256(errand.secret(name).encode()).hexdigest() for name in errand["passwords"]]
    ask(
        errand,
        server.execute_command,
        "ACL SETUSER",
        errand["user"],
        "reset",
        "on",
        *(f"#{digest}" for digest in digests),
        f"~{errand['prefix']}*",
        f"&{errand['prefix']}*",
        f"%R~{CLUSTER}{errand['cluster']}",
        *COMMANDS,
    )
    save(server, errand)


def save(server, errand):
    ask(errand, server.execute_command, "ACL SAVE")


def check_login(errand):
    """The password that is to be published works."""
    client = connected(errand, errand["user"], errand.secret(errand["passwords"][-1]))
    ask(errand, client.ping)


def remove_keys(errand):
    """All keys with the prefix, in every database, a few at a time so that others are not held up."""
    username, password = errand.secret("admin-username"), errand.secret("admin-password")
    keyspace = ask(errand, connected(errand, username, password).info, "keyspace")
    for name in sorted(keyspace):
        database = connected(errand, username, password, int(name.removeprefix("db")))
        position = None
        while position != 0:
            position, keys = ask(errand, database.scan, position or 0, f"{errand['prefix']}*", BATCH)
            if keys:
                ask(errand, database.unlink, *keys)
