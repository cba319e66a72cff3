"""The cluster's own certificates: made once, kept for as long as the cluster lives, renewed before they end.

ca          ── apiserver, kubelets (serving and client), every component, the administrator
etcd-ca     ── etcd and its one client, the API server
front-proxy ── the API server towards aggregated APIs
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from libresh.local import state
from libresh.local.spec import Cluster, Node

AUTHORITY_LIFE = timedelta(days=365 * 30)
CERTIFICATE_LIFE = timedelta(days=365 * 10)
RENEW_BEFORE = timedelta(days=365)

Key = ec.EllipticCurvePrivateKey


@dataclass(frozen=True)
class Identity:
    """One certificate: whom it names, and where it is valid as a server."""

    file: str
    common_name: str
    groups: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    addresses: tuple[IPv4Address, ...] = ()
    authority: str = "ca"

    @property
    def is_server(self) -> bool:
        return bool(self.names or self.addresses)


def identities_for(cluster: Cluster) -> tuple[Identity, ...]:
    """Every certificate a cluster needs."""
    localhost = IPv4Address("127.0.0.1")
    service = "kubernetes.default.svc.cluster.local"
    return (
        Identity(
            "apiserver",
            "kube-apiserver",
            names=("localhost", *(service.rsplit(".", cut)[0] for cut in (4, 3, 2)), service),
            addresses=(cluster.address, cluster.api_service, localhost),
        ),
        Identity("etcd", "etcd", names=("localhost",), addresses=(cluster.loopback,), authority="etcd-ca"),
        Identity("apiserver-etcd", "kube-apiserver", authority="etcd-ca"),
        Identity("front-proxy", "front-proxy-client", authority="front-proxy-ca"),
        Identity("apiserver-kubelet", "kube-apiserver-kubelet-client"),
        Identity("metrics-server", "metrics-server", names=("metrics-server.kube-system.svc",)),
        Identity("admin", "kubernetes-admin", ("system:masters",)),
        Identity("controller-manager", "system:kube-controller-manager"),
        Identity("scheduler", "system:kube-scheduler"),
        Identity("kube-proxy", "system:kube-proxy"),
        Identity("coredns", "system:coredns"),
        Identity("metrics", "system:metrics-server"),
        *(identity for node in cluster.members for identity in identities_of(node)),
    )


def identities_of(node: Node) -> tuple[Identity, ...]:
    """A node's client and server certificates."""
    user = f"system:node:{node.name}"
    return (
        Identity(f"{node.name}-client", user, ("system:nodes",)),
        Identity(node.name, user, ("system:nodes",), names=(node.name,), addresses=(node.address,)),
    )


def write_all(cluster: Cluster, now: datetime) -> None:
    """Make what is missing or runs out; keep everything else, byte for byte."""
    folder = cluster.pki
    authorities = {name: _authority(folder, name, now) for name in ("ca", "etcd-ca", "front-proxy-ca")}
    for identity in identities_for(cluster):
        _certificate(folder, identity, authorities[identity.authority], now)
    if not (folder / "service-accounts.key").is_file():
        # RSA, because some readers of service account tokens know nothing else.
        signing = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        state.write_file(
            folder / "service-accounts.pub",
            signing.public_key().public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            ),
        )
        state.write_file(folder / "service-accounts.key", _pem(signing))


def kubeconfig_for(cluster: Cluster, identity: str) -> str:
    """A kubeconfig that holds everything it needs, so that it can be copied to another place."""

    def inline(file: str) -> str:
        return base64.b64encode((cluster.pki / file).read_bytes()).decode()

    value = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": cluster.name,
                "cluster": {"server": cluster.server, "certificate-authority-data": inline("ca.crt")},
            }
        ],
        "users": [
            {
                "name": identity,
                "user": {
                    "client-certificate-data": inline(f"{identity}.crt"),
                    "client-key-data": inline(f"{identity}.key"),
                },
            }
        ],
        "contexts": [{"name": cluster.name, "context": {"cluster": cluster.name, "user": identity}}],
        "current-context": cluster.name,
    }
    # JSON is YAML too.
    return json.dumps(value, indent=1) + "\n"


def _authority(folder: Path, name: str, now: datetime) -> tuple[x509.Certificate, Key]:
    key = _key(folder / f"{name}.key")
    path = folder / f"{name}.crt"
    if path.is_file():
        return x509.load_pem_x509_certificate(path.read_bytes()), key
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"libresh-{name}")])
    usage = x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=True,
        crl_sign=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    made = (
        _builder(subject, subject, key, now, AUTHORITY_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    state.write_file(path, made.public_bytes(serialization.Encoding.PEM), mode=0o644)
    return made, key


def _certificate(folder: Path, identity: Identity, authority: tuple[x509.Certificate, Key], now: datetime) -> None:
    path = folder / f"{identity.file}.crt"
    key = _key(folder / f"{identity.file}.key")
    if path.is_file() and _still_good(x509.load_pem_x509_certificate(path.read_bytes()), identity, key, now):
        return
    issuer, signing = authority
    groups = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in identity.groups]
    subject = x509.Name([*groups, x509.NameAttribute(NameOID.COMMON_NAME, identity.common_name)])
    usages = [ExtendedKeyUsageOID.CLIENT_AUTH]
    if identity.is_server:
        usages.append(ExtendedKeyUsageOID.SERVER_AUTH)
    builder = (
        _builder(subject, issuer.subject, key, now, CERTIFICATE_LIFE)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signing.public_key()), critical=False)
    )
    if identity.is_server:
        names: list[x509.GeneralName] = [x509.DNSName(name) for name in identity.names]
        names += [x509.IPAddress(address) for address in identity.addresses]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    made = builder.sign(signing, hashes.SHA256())
    state.write_file(path, made.public_bytes(serialization.Encoding.PEM), mode=0o644)


def _still_good(made: x509.Certificate, identity: Identity, key: Key, now: datetime) -> bool:
    if made.not_valid_after_utc - now < RENEW_BEFORE or made.public_key() != key.public_key():
        return False
    if not identity.is_server:
        return True
    found = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return set(found.get_values_for_type(x509.DNSName)) == set(identity.names) and set(
        found.get_values_for_type(x509.IPAddress)
    ) == set(identity.addresses)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: Key, now: datetime, life: timedelta
) -> x509.CertificateBuilder:
    start = now.astimezone(UTC) - timedelta(hours=1)  # a clock that is set back a little does no harm
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + life)
    )


def _key(path: Path) -> Key:
    if path.is_file():
        found = serialization.load_pem_private_key(path.read_bytes(), password=None)
        if isinstance(found, ec.EllipticCurvePrivateKey):
            return found
    key = ec.generate_private_key(ec.SECP256R1())
    state.write_file(path, _pem(key))
    return key


def _pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
