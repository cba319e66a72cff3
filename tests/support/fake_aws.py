"""A fake of an S3 with users (moto, https://docs.getmoto.org): S3 and IAM in memory, policies enforced.

It is no product anybody stores things on. It says whether the errand's requests are the documented ones of AWS' APIs,
which Ceph's and SeaweedFS' gateways answer, too; not whether these do.
"""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from types import TracebackType
from typing import Any

import botocore.session

from support.apiserver import LOOPBACK, die_with_parent, free_ports

SESSION = botocore.session.get_session()
ADMIN_POLICY = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}'
OPEN = 10**9
SETTINGS = {
    "MOTO_IAM_LOAD_MANAGED_POLICIES": "false",
    # Else it takes the beginning of a host's name for a bucket.
    "S3_IGNORE_SUBDOMAIN_BUCKETNAME": "true",
}


class FakeAws:
    """One fake server, a process of its own that dies with this one."""

    def __init__(self, address: str = LOOPBACK) -> None:
        """`address`: of this machine, to listen at."""
        self.address = address
        (self.port,) = free_ports(1, address)
        self.url = f"http://{address}:{self.port}"

    def __enter__(self) -> "FakeAws":
        command = [sys.executable, "-m", "moto.server", "-H", self.address, "-p", str(self.port)]
        self.process = subprocess.Popen(
            command,
            env=os.environ | SETTINGS,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=die_with_parent,
            # Who interrupts the run does not mean it: what is then cleared up may need it.
            start_new_session=True,
        )
        try:
            self.await_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def await_ready(self) -> None:
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection((self.address, self.port), timeout=1).close()
                return
            except OSError:
                assert self.process.poll() is None, "moto ended: is it installed (requirements/dev.txt)?"
                assert time.monotonic() < deadline, "moto does not answer"
                time.sleep(0.1)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()

    def begin(self) -> tuple[str, str]:
        """Forgets everything. From the answer on, the key of the administrator that comes back is needed."""
        self.post("reset", b"")
        self.post("reset-auth", str(OPEN).encode())
        iam = self.client("iam", ("any", "any"))
        iam.create_user(UserName="admin")
        iam.put_user_policy(UserName="admin", PolicyName="all", PolicyDocument=ADMIN_POLICY)
        made = iam.create_access_key(UserName="admin")["AccessKey"]
        self.post("reset-auth", b"0")
        return made["AccessKeyId"], made["SecretAccessKey"]

    def post(self, path: str, body: bytes) -> None:
        request = urllib.request.Request(f"{self.url}/moto-api/{path}", body, {"Content-Type": "text/plain"})
        urllib.request.urlopen(request, timeout=30).close()

    def client(self, service: str, key: tuple[str, str]) -> Any:
        return SESSION.create_client(
            service,
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id=key[0],
            aws_secret_access_key=key[1],
        )
