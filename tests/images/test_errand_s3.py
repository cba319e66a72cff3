"""Errands for buckets, out of the image, against versitygw out of its own: a real S3 that makes no users by AWS' API.

The API server that the key is given back to is a fake (places.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import botocore.session
import pytest
from botocore.exceptions import ClientError
from containers import Running, wait_for_port
from errands import Errands
from places import Place

pytestmark = pytest.mark.e2e

PORT, DATA = 17071, "/var/lib/versitygw"
ROOT = ("root-key", "of-the-administrator")
BUCKET = "team-mine-0123456789abcdef"
SERVER = f"127.0.0.1:{PORT}"


class Buckets:
    """The program, and the place that it gives keys back to."""

    def __init__(self, running: Running) -> None:
        self.place = Place()
        self.errands = Errands(
            running,
            "s3",
            port=PORT,
            endpoint=f"http://{SERVER}",
            region="us-east-1",
            pathStyle=True,
            iam=None,
            cluster="here",
            bucket=BUCKET,
            keys="shared",
            editions=["first"],
            versioning=False,
            lifecycle=None,
            origins=[],
            **{"for": "Bucket team/mine"},
        )
        self.errands.env["SSL_CERT_FILE"] = "/etc/ssl/certs/ca-certificates.crt"
        self.place.show(self.errands)

    def do(self, task: str, **order: Any) -> int:
        admin = {"admin-access-key-id": ROOT[0], "admin-secret-access-key": ROOT[1]}
        return self.errands.do(task, ROOT[1], secrets=admin | self.place.data, **order)

    @property
    def words(self) -> str:
        return self.errands.words


@pytest.fixture
def buckets(container: Callable[[str], Running]) -> Iterator[Buckets]:
    server = container("versitygw")
    server.run(["mkdir", "-p", f"{DATA}/objects", f"{DATA}/versions"], [DATA])
    posix = ["posix", f"--versioning-dir={DATA}/versions", f"{DATA}/objects"]
    keys = {"ROOT_ACCESS_KEY": ROOT[0], "ROOT_SECRET_KEY": ROOT[1]}
    server.start(["versitygw", f"--port={SERVER}", *posix], [DATA], keys)
    wait_for_port(PORT)
    found = Buckets(container("errand"))
    yield found
    found.place.stop()


def s3() -> Any:
    return botocore.session.get_session().create_client(
        "s3",
        endpoint_url=f"http://{SERVER}",
        region_name="us-east-1",
        aws_access_key_id=ROOT[0],
        aws_secret_access_key=ROOT[1],
    )


def test_a_server_that_makes_no_users_is_refused_before_anything_is_made(buckets: Buckets) -> None:
    assert buckets.do("provide", keys="own") == 3
    assert buckets.words.startswith(f"ServiceClass outside: spec.parameters.keys: {SERVER} makes no users for this key")
    assert s3().list_buckets()["Buckets"] == []
    assert buckets.place.data == {}
    assert buckets.do("remove", keys="own", editions=[]) == 0, buckets.words


def test_a_bucket_is_made_marked_used_and_removed_with_all_its_versions(buckets: Buckets) -> None:
    for _ in range(2):
        assert buckets.do("provide", versioning=True) == 0, buckets.words
    given = buckets.place.data
    assert (given["first.access-key-id"], given["first.secret-access-key"]) == ROOT
    assert {key for key in given if key.startswith("can.")} >= {"can.versioning", "can.tags"}
    assert "can.scoped-key" not in given
    client = s3()
    assert client.get_bucket_tagging(Bucket=BUCKET)["TagSet"] == [
        {"Key": "libre.sh/for", "Value": "Bucket team/mine of cluster here"}
    ]
    for body in (b"one", b"two"):
        client.put_object(Bucket=BUCKET, Key="a/b", Body=body)
    client.delete_object(Bucket=BUCKET, Key="a/b")
    assert len(client.list_object_versions(Bucket=BUCKET)["Versions"]) == 2
    client.create_multipart_upload(Bucket=BUCKET, Key="begun")
    for _ in range(2):
        assert buckets.do("remove", editions=[]) == 0, buckets.words
    assert client.list_buckets()["Buckets"] == []


def test_what_the_server_has_not_is_refused_by_its_field(buckets: Buckets) -> None:
    assert buckets.do("provide", lifecycle={"abortUploadsAfter": 7}) == 3
    assert buckets.words.startswith(f"ServiceClass outside: spec.parameters.lifecycle: {SERVER} keeps no such rules")
    with pytest.raises(ClientError):
        s3().get_bucket_lifecycle_configuration(Bucket=BUCKET)


def test_a_bucket_of_somebody_else_is_left_alone_and_a_wrong_key_is_told(buckets: Buckets) -> None:
    s3().create_bucket(Bucket=BUCKET)
    s3().put_object(Bucket=BUCKET, Key="a", Body=b"theirs")
    for task in ("provide", "remove"):
        assert buckets.do(task) == 3
        assert "that libre.sh did not make for Bucket team/mine of this cluster: it is left alone" in buckets.words
    assert s3().get_object(Bucket=BUCKET, Key="a")["Body"].read() == b"theirs"
    assert buckets.do("provide", endpoint="http://127.0.0.1:1", port=1) == 1
    assert buckets.words == "127.0.0.1:1 cannot be reached: Connection refused"
