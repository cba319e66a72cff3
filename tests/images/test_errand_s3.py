"""Errands for buckets, out of the image, against versitygw out of its own: a real S3 that makes no users by AWS' API.

The API server that the key is given back to is a fake: it takes one Secret over TLS, and looks at the token.
"""

from __future__ import annotations

import base64
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore.exceptions import ClientError
from containers import Running, wait_for_port
from test_errand import ENV, PYTHON, SECRETS, WORDS, certify

pytestmark = pytest.mark.e2e

PORT, DATA = 17071, "/var/lib/versitygw"
ACCOUNT = "/etc/account"
ROOT = ("root-key", "of-the-administrator")
BUCKET = "team-mine-0123456789abcdef"
SERVER = f"127.0.0.1:{PORT}"


class FakeApiServer:
    """Takes a Secret as the API server would."""

    def __init__(self, running: Running) -> None:
        self.given: dict[str, str] = {}
        self.asked: list[str] = []
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def do_PATCH(self) -> None:
                assert self.headers["Authorization"] == "Bearer of-the-pod"
                assert self.headers["Content-Type"] == "application/apply-patch+yaml"
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                fake.asked.append(self.path)
                fake.given = {key: base64.b64decode(value).decode() for key, value in body["data"].items()}
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: Any) -> None: ...

        authority = certify(running, "127.0.0.1")
        folder = running.volume("/etc/tls")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "tls.crt", folder / "tls.key")
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        running.volume(ACCOUNT, {"token": "of-the-pod", "ca.crt": authority})


class Buckets:
    """The program, run as a Job would run it."""

    def __init__(self, running: Running) -> None:
        self.running = running
        self.api = FakeApiServer(running)
        self.order: dict[str, Any] = {
            "host": "127.0.0.1",
            "port": PORT,
            "endpoint": f"http://{SERVER}",
            "region": "us-east-1",
            "pathStyle": True,
            "iam": None,
            "for": "Bucket team/mine",
            "cluster": "here",
            "class": "outside",
            "bucket": BUCKET,
            "keys": "shared",
            "editions": ["first"],
            "versioning": False,
            "lifecycle": None,
            "origins": [],
        }

    def do(self, task: str, **order: Any) -> int:
        folder = self.running.volume(SECRETS)
        for path in folder.iterdir():
            path.unlink()
        admin = {"admin-access-key-id": ROOT[0], "admin-secret-access-key": ROOT[1]}
        self.running.volume(SECRETS, admin | self.api.given)
        (self.running.volume(WORDS) / "log").unlink(missing_ok=True)
        env = ENV | {
            "LIBRESH_ORDER": json.dumps(self.order | order),
            "LIBRESH_GIVES": "team/mine-s3-credentials",
            "LIBRESH_ACCOUNT": ACCOUNT,
            "KUBERNETES_SERVICE_HOST": "127.0.0.1",
            "KUBERNETES_SERVICE_PORT": str(self.api.server.server_port),
            "SSL_CERT_FILE": "/etc/ssl/certs/ca-certificates.crt",
        }
        command = [PYTHON, "-m", "libresh_errand", "s3", task]
        process = self.running.start(command, [SECRETS, WORDS, ACCOUNT], env)
        output = process.communicate(timeout=120)[0].decode()
        assert "Traceback" not in output
        assert ROOT[1] not in output
        return process.returncode

    @property
    def words(self) -> str:
        path: Path = self.running.volume(WORDS) / "log"
        return path.read_text() if path.exists() else ""


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
    found.api.server.shutdown()


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
    assert buckets.api.asked == []
    assert buckets.do("remove", keys="own", editions=[]) == 0, buckets.words


def test_a_bucket_is_made_marked_used_and_removed_with_all_its_versions(buckets: Buckets) -> None:
    for _ in range(2):
        assert buckets.do("provide", versioning=True) == 0, buckets.words
    assert set(buckets.api.asked) == {
        "/api/v1/namespaces/team/secrets/mine-s3-credentials?fieldManager=libresh-errand&force=true"
    }
    given = buckets.api.given
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
