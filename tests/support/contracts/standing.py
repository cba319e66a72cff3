"""A real PostgreSQL for a contract stub to stand on: one server of the project's image, on a volume, with TLS.

It is no cluster: there are no replicas, no failover and no backups, whatever the object asks for. It goes with the
object. One that is to begin with the data of another is copied from that by pg_basebackup, all roles with their
passwords; then it is given its own.
"""

import base64
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from libresh.kube.client import Client
from libresh.plan import observed

Object = dict[str, Any]
USER = 10001
DATA = "/var/lib/postgresql/data"
START = """
rm -f /tmp/told
if ! test -s "$PGDATA/PG_VERSION"; then
  rm -rf "$PGDATA.new"
  if test -n "$SOURCE"; then
    PGPASSWORD="$(cat /etc/source/replication)" pg_basebackup --pgdata="$PGDATA.new" --checkpoint=fast \\
      --dbname="host=$SOURCE user=replication sslmode=verify-full sslrootcert=/etc/source/ca.crt"
  else
    initdb --encoding=UTF8 --locale=C.UTF-8 --username=postgres --auth-local=trust --pgdata="$PGDATA.new"
  fi
  mv "$PGDATA.new" "$PGDATA"
fi
chmod 0700 "$PGDATA"
{
  echo 'local all all trust'
  echo 'hostssl replication replication all scram-sha-256'
  echo 'hostssl all all all scram-sha-256'
} > "$PGDATA/pg_hba.conf"
install -m 0600 /etc/server/tls.key /tmp/tls.key
{
  /usr/local/bin/libresh-postgresql-roles
  psql="psql --no-psqlrc --quiet --username=postgres --dbname=postgres"
  $psql --command='CREATE ROLE replication' || true
  $psql <<'SQL'
\\set password `cat /etc/server/replication`
ALTER ROLE replication LOGIN REPLICATION PASSWORD :'password'
SQL
  touch /tmp/told
} &
exec postgres -c listen_addresses='*' -c ssl=on -c ssl_cert_file=/etc/server/tls.crt -c ssl_key_file=/tmp/tls.key
"""


@dataclass(frozen=True)
class Server:
    """The server behind one object of another operator."""

    owner: Object
    service: str
    """The name of its Service, and in its certificate."""
    credentials: dict[str, str]
    """username, password, database."""
    extensions: Sequence[str] = ()
    locale: str = "C"
    size: str = "1Gi"
    source: str = ""
    """The name of the object whose data it begins with."""
    possible: bool = True
    """Whether it can begin as it is to: what takes backups cannot."""

    @property
    def name(self) -> str:
        return f"{self.owner['metadata']['name']}-stub"

    @property
    def namespace(self) -> str:
        return str(self.owner["metadata"]["namespace"])

    @property
    def at_source(self) -> str:
        """The Service of the server whose data it begins with, which is called after its object in the same way."""
        return self.service.replace(self.owner["metadata"]["name"], self.source, 1) if self.source else ""

    @property
    def made(self) -> Object:
        """What it is made of: as long as that is the same nothing needs to be done."""
        return {"extensions": list(self.extensions), "source": self.source, "size": self.size}

    @property
    def hosts(self) -> tuple[str, ...]:
        return tuple(f"{self.service}{end}" for end in ("", f".{self.namespace}", f".{self.namespace}.svc"))


async def stand(client: Client, server: Server, image: str) -> str:
    """Makes the server as it should be. Who signed its certificate."""
    kept = await client.get("Secret", server.name, server.namespace)
    authority = base64.b64decode((kept or {}).get("data", {}).get("ca.crt", "")).decode()
    if kept is None:
        tls = certify(server.hosts)
        authority = tls["ca.crt"]
        values = {**server.credentials, **tls, "replication": secrets.token_urlsafe()}
        await client.apply(build(server, "v1", "Secret", server.name, stringData=values))
    for wanted in (build_service(server), build_volume(server), build_stateful_set(server, image)):
        await client.apply(wanted)
    return authority


async def is_up(client: Client, server: Server) -> bool:
    return observed.is_rolled_out(await client.get("StatefulSet", server.name, server.namespace))


def build(server: Server, api_version: str, kind: str, name: str, **fields: Any) -> Object:
    """An object that goes with the other operator's."""
    owner = server.owner
    reference = {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
    }
    metadata = {"name": name, "namespace": server.namespace, "ownerReferences": [reference]}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **fields}


def build_service(server: Server) -> Object:
    spec = {"selector": {"contract-stub": server.name}, "ports": [{"port": 5432, "name": "postgresql"}]}
    return build(server, "v1", "Service", server.service, spec=spec)


def build_volume(server: Server) -> Object:
    """It may grow, as the other operators' do."""
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": server.size}}}
    return build(server, "v1", "PersistentVolumeClaim", server.name, spec=spec)


def build_stateful_set(server: Server, image: str) -> Object:
    """Pod Security restricted, as everything on the cluster."""
    labels = {"contract-stub": server.name}
    environment = {
        "LIBRESH_CREDENTIALS": "/etc/server",
        "LIBRESH_LC_COLLATE": server.locale,
        "LIBRESH_LC_CTYPE": server.locale,
        "LIBRESH_EXTENSIONS": ",".join(server.extensions),
        "SOURCE": server.at_source,
    }
    client = f"psql --no-psqlrc --quiet --dbname='user={server.credentials['username']} dbname=app'"
    ready = f"test -e /tmp/told && {client} --command='SELECT 1'"
    mounts = {"data": DATA, "run": "/var/run/postgresql", "tmp": "/tmp", "shm": "/dev/shm"}
    read = {"server": server.name} | ({"source": f"{server.source}-stub"} if server.source else {})
    mounts |= {name: f"/etc/{name}" for name in read}
    container = {
        "name": "postgresql",
        "image": image,
        "command": ["/bin/sh", "-euc", START],
        "env": [{"name": name, "value": value} for name, value in environment.items()],
        "ports": [{"containerPort": 5432}],
        "volumeMounts": [{"name": name, "mountPath": path} for name, path in mounts.items()],
        "readinessProbe": {"exec": {"command": ["/bin/sh", "-c", ready]}, "periodSeconds": 2},
        "resources": {"requests": {"cpu": "50m", "memory": "96Mi"}, "limits": {"memory": "256Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
    }
    pod = {
        "automountServiceAccountToken": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [
            *({"name": name, "emptyDir": {}} for name in ("run", "tmp")),
            {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "64Mi"}},
            *({"name": name, "secret": {"secretName": secret}} for name, secret in read.items()),
            {"name": "data", "persistentVolumeClaim": {"claimName": server.name}},
        ],
    }
    spec = {
        "replicas": 1,
        "serviceName": server.service,
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": pod},
    }
    return build(server, "apps/v1", "StatefulSet", server.name, spec=spec)


def certify(hosts: Sequence[str]) -> dict[str, str]:
    """A certificate for these names, and the authority that signed it."""
    root, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "contract stub")])
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hosts[0])])
    names = x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts])
    usual = x509.BasicConstraints(ca=True, path_length=None)
    authority = begin(issuer, issuer, root).add_extension(usual, critical=True).sign(root, hashes.SHA256())
    signed = begin(subject, issuer, key).add_extension(names, critical=False).sign(root, hashes.SHA256())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    encoded = {"ca.crt": authority, "tls.crt": signed}
    return {name: cert.public_bytes(serialization.Encoding.PEM).decode() for name, cert in encoded.items()} | {
        "tls.key": private.decode()
    }


def begin(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=365))
    )
