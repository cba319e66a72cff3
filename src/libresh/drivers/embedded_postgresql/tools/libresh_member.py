"""What a member of three does at its start, and when it is the primary, besides what the image's own callback does.

With `start` it starts Patroni. A primary that comes back from a crash first lets go of its lock: Patroni would do the
same, but only after it has looked for itself at its old address, which may take many seconds. Where replication is
asynchronous the lock is kept, as Patroni keeps it then: the primary alone has what was written last.

Patroni calls it with (action, role, cluster) on start and on every change of role. It may be repeated, and changes only
what differs. Where it is the primary, in order, the most urgent first:

- Pods of members that were the primary before and could not say so (their node is dead) lose the label by which the
  Service finds the primary.
- Patroni takes its settings from the configuration only when a cluster is made: later ones are brought here.
- The passwords by which members know each other are those that are mounted.
"""

import json
import os
import ssl
import sys
import time
import urllib.request
from pathlib import Path

import psycopg
from psycopg import sql

CONFIGURATION, SETTINGS = Path("/etc/patroni/patroni.yaml"), Path("/etc/patroni/dynamic.json")
CREDENTIALS = Path("/etc/libresh/credentials")
ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
DATA = "/var/lib/postgresql/data"
PATRONI = "http://127.0.0.1:8008/config"
ROLES, SERVER = "/usr/local/bin/libresh-postgresql-roles", "/opt/patroni/bin/patroni"
SCOPE_LABEL, ROLE_LABEL = "libre.sh/scope", "libre.sh/role"
PASSWORDS = {"postgres": "superuser-password", "replicator": "replication-password"}
TIMEOUT, TRIES = 5, 5
KEPT_FOR_REPLICAS = 4
"""A replica that is away keeps no more than this part of the volume occupied; then it must be copied anew."""


def main(arguments):
    if arguments == ["start"]:
        return start()
    action, role, scope = arguments
    if role == "primary":
        for step in (lambda: take_label(scope), bring_settings, set_passwords):
            insist(step)
    os.execv(ROLES, [ROLES, action, role, scope])


def insist(step, *, sleep=time.sleep):
    """A step that fails is tried again: others write at the moment of a promotion, too. The next one does not wait."""
    for _ in range(TRIES):
        try:
            return step()
        except (OSError, ValueError, psycopg.Error) as error:
            print(f"libresh-member: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        sleep(1)


# --- the lock ----------------------------------------------------------------------------------------------------


def start():
    try:
        if json.loads(SETTINGS.read_text())["primary_start_timeout"] == 0:
            release_lock(json.loads(CONFIGURATION.read_text())["scope"])
    except (OSError, ValueError, KeyError) as error:
        print(f"libresh-member: the lock stays as it is: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
    os.execv(SERVER, [SERVER, str(CONFIGURATION)])


def release_lock(scope, *, ask=None, me=None):
    """Let go of the lock if this member holds it: its server does not run, others may have it now."""
    ask, me = ask or ask_cluster, me or os.environ["HOSTNAME"]
    metadata = ask("GET", f"configmaps/{scope}-leader")["metadata"]
    if metadata.get("annotations", {}).get("leader") == me:
        only_this = {"resourceVersion": metadata["resourceVersion"], "annotations": {"leader": None}}
        ask("PATCH", f"configmaps/{scope}-leader", {"metadata": only_this})
        print("libresh-member: let go of the lock after a crash", flush=True)


# --- the label ---------------------------------------------------------------------------------------------------


def take_label(scope, *, ask=None, me=None):
    """Take the primary's label from every other pod, if this one holds the lock."""
    ask, me = ask or ask_cluster, me or os.environ["HOSTNAME"]
    lock = ask("GET", f"configmaps/{scope}-leader")
    if lock["metadata"].get("annotations", {}).get("leader") != me:
        return
    for pod in ask("GET", f"pods?labelSelector={SCOPE_LABEL}%3D{scope},{ROLE_LABEL}%3Dprimary")["items"]:
        name = pod["metadata"]["name"]
        if name != me:
            ask("PATCH", f"pods/{name}", {"metadata": {"labels": {ROLE_LABEL: "replica"}}})
            print(f"libresh-member: {name} is not the primary any more", flush=True)


def ask_cluster(verb, path, body=None):
    """One request to the API server, as this pod's account."""
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
    host = f"[{host}]" if ":" in host else host
    space = (ACCOUNT / "namespace").read_text()
    request = urllib.request.Request(f"https://{host}:{port}/api/v1/namespaces/{space}/{path}", method=verb)
    request.add_header("Authorization", f"Bearer {(ACCOUNT / 'token').read_text()}")
    request.add_header("Content-Type", "application/merge-patch+json")
    trust = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
    # Many a cluster's authority lacks what Python 3.13 began to ask for, and nobody but its owner could make another.
    trust.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return send(request, body, context=trust)


def send(request, body, **options):
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(request, data, timeout=TIMEOUT, **options) as answer:
        return json.loads(answer.read() or b"null")


# --- settings ----------------------------------------------------------------------------------------------------


def bring_settings():
    """Patroni's own settings as they should be."""
    wanted = json.loads(SETTINGS.read_text())
    volume = os.statvfs(DATA)
    room = volume.f_blocks * volume.f_frsize // KEPT_FOR_REPLICAS >> 20
    wanted["postgresql"]["parameters"]["max_slot_wal_keep_size"] = f"{room}MB"
    if not holds(send(urllib.request.Request(PATRONI), None), wanted):
        request = urllib.request.Request(PATRONI, method="PATCH", headers={"Content-Type": "application/json"})
        send(request, wanted)
        print("libresh-member: brought Patroni's settings up to date", flush=True)


def holds(found, wanted):
    """Whether all that is wanted is there; what else is there is left alone."""
    if isinstance(wanted, dict):
        return isinstance(found, dict) and all(key in found and holds(found[key], wanted[key]) for key in wanted)
    return str(found) == str(wanted)


# --- passwords ---------------------------------------------------------------------------------------------------


def set_passwords():
    """The passwords of the roles that members use among themselves. Only verifiers are sent to the server."""
    options = "-c log_statement=none -c log_min_error_statement=panic"
    with psycopg.connect(
        host="/var/run/postgresql",
        user="postgres",
        dbname="postgres",
        autocommit=True,
        connect_timeout=5,
        options=options,
    ) as server:
        for role, key in PASSWORDS.items():
            password = (CREDENTIALS / key).read_text().strip()
            if not can_log_in(role, password):
                verifier = server.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256").decode()
                server.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(role), sql.Literal(verifier)))
                print(f"libresh-member: set the password of role {role}", flush=True)


def can_log_in(role, password):
    """Whether the server takes this password, over the network as other members come."""
    kind = {"dbname": "postgres"} if role == "postgres" else {"replication": "true"}
    try:
        psycopg.connect(
            host="127.0.0.1", user=role, password=password, connect_timeout=5, autocommit=True, **kind
        ).close()
    except psycopg.OperationalError:
        return False
    return True


if __name__ == "__main__":
    main(sys.argv[1:])
