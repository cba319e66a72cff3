"""Certificates: who is named, what is kept, what is renewed."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from libresh.local import pki
from libresh.local.spec import Cluster

NOW = datetime(2030, 1, 1, tzinfo=UTC)


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    made = Cluster("test", 1, tmp_path)
    pki.write_all(made, NOW)
    return made


def read(cluster: Cluster, name: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate((cluster.pki / f"{name}.crt").read_bytes())


def contents(cluster: Cluster) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in cluster.pki.iterdir()}


def test_every_certificate_is_signed_by_its_authority(cluster: Cluster) -> None:
    for identity in pki.identities_for(cluster):
        read(cluster, identity.file).verify_directly_issued_by(read(cluster, identity.authority))


def test_a_node_may_only_be_itself(cluster: Cluster) -> None:
    subject = read(cluster, "node-1-client").subject
    assert subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == "system:node:node-1"
    assert subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)[0].value == "system:nodes"


def test_the_api_server_is_known_by_all_its_names(cluster: Cluster) -> None:
    found = read(cluster, "apiserver").extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert set(found.get_values_for_type(x509.DNSName)) == {
        "localhost",
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
    }
    addresses = {cluster.address, cluster.api_service, ip_address("127.0.0.1")}
    assert set(found.get_values_for_type(x509.IPAddress)) == addresses


def test_a_second_run_changes_nothing(cluster: Cluster) -> None:
    before = contents(cluster)
    pki.write_all(cluster, NOW + timedelta(days=1000))
    assert contents(cluster) == before


def test_a_new_node_gets_certificates_and_the_others_keep_theirs(cluster: Cluster) -> None:
    before = contents(cluster)
    pki.write_all(replace(cluster, nodes=2), NOW)
    after = contents(cluster)
    assert {name: after[name] for name in before} == before
    assert set(after) - set(before) == {f"node-2{kind}.{end}" for kind in ("", "-client") for end in ("key", "crt")}


def test_what_runs_out_is_renewed_and_the_authorities_and_keys_are_kept(cluster: Cluster) -> None:
    before = contents(cluster)
    later = NOW + pki.CERTIFICATE_LIFE - timedelta(days=100)
    pki.write_all(cluster, later)
    changed = {name for name, content in contents(cluster).items() if content != before[name]}
    assert changed == {f"{identity.file}.crt" for identity in pki.identities_for(cluster)}
    assert read(cluster, "admin").not_valid_after_utc > later + timedelta(days=3000)


def test_private_keys_are_private(cluster: Cluster) -> None:
    assert {path.name for path in cluster.pki.glob("*.key") if path.stat().st_mode & 0o077} == set()
