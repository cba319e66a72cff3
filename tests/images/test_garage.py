"""Three members of Garage out of their image for real, on loopback, with the driver's own configuration."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from containers import Running, wait_for_port

from laws import samples
from libresh.drivers import drivers
from libresh.drivers.embedded_bucket import garage

pytestmark = [pytest.mark.e2e, pytest.mark.ha]

ASK = samples.sample_ask(samples.Variant(drivers()["Bucket", "embedded"], {"members": 3}))
BUCKET, KEY, SECRET = "files", "0123456789abcdef01234567", "s3cret-s3cret-s3cret-s3cret"
QUOTA = 4 << 20
PATIENCE = 90


class Store:
    """Three members, each a container with a volume of its own."""

    def __init__(self, container: Callable[[str], Running]) -> None:
        self.members = [container("garage") for _ in garage.MEMBERS]
        self.servers: dict[int, subprocess.Popen[bytes]] = {}
        self.environment: dict[str, str] = {}

    def port(self, number: int, port: int) -> int:
        return 21000 + 100 * number + port - garage.S3_PORT

    def everyone(self, port: int) -> str:
        return " ".join(f"127.0.0.1:{self.port(number, port)}" for number in garage.MEMBERS)

    def environment_of(self, number: int) -> dict[str, str]:
        """As the driver gives it, with values where it names Secrets, and addresses on loopback."""
        secrets = {
            "rpc-secret": "5e" * 32,
            "admin-token": "admin-token",
            "access-key-id": KEY,
            "secret-access-key": SECRET,
        }
        found = {
            name: secrets[value["secretKeyRef"]["key"]] if isinstance(value, dict) else value
            for name, value in garage.environment_of(ASK, number).items()
        }
        found |= {
            "LIBRESH_MEMBERS": self.everyone(garage.ADMIN_PORT),
            "LIBRESH_PEERS": self.everyone(garage.RPC_PORT),
        }
        if number == 0:
            found |= {"LIBRESH_BUCKET": BUCKET, "LIBRESH_QUOTA": str(QUOTA)}
        return found | self.environment

    def start(self, *numbers: int) -> None:
        for number in numbers or garage.MEMBERS:
            config = garage.render_config(ASK)
            for port in (garage.S3_PORT, garage.RPC_PORT, garage.ADMIN_PORT):
                config = config.replace(f"0.0.0.0:{port}", f"127.0.0.1:{self.port(number, port)}")
            member = self.members[number]
            member.volume("/etc/garage", {"garage.toml": config})
            self.servers[number] = member.start(garage.COMMAND, VOLUMES, self.environment_of(number))

    def end(self, number: int) -> int:
        """As Kubernetes asks it to: SIGTERM for the container's first process. How it ended."""
        outside = self.servers[number].pid
        (first,) = Path(f"/proc/{outside}/task/{outside}/children").read_text().split()
        os.kill(int(first), signal.SIGTERM)
        self.servers[number].communicate(timeout=25)
        return self.servers[number].returncode

    def kill(self, number: int) -> None:
        self.servers[number].kill()
        self.servers[number].communicate()

    def lose_volume(self, number: int) -> None:
        for each in self.members[number].volume(garage.DATA).iterdir():
            shutil.rmtree(each)

    def arrange(self, number: int) -> tuple[int, str]:
        """What the startup probe does: its exit code, and what it said."""
        process = self.members[number].start(["libresh-garage", "arrange"], VOLUMES, self.environment_of(number))
        said, _ = process.communicate(timeout=60)
        return process.returncode, said.decode()

    def settle(self, *numbers: int) -> str:
        """Until the startup probes of these members succeed; what they did."""
        deadline, left, done = time.monotonic() + PATIENCE, list(numbers or garage.MEMBERS), ""
        while left:
            for number in list(left):
                code, said = self.arrange(number)
                done += said if code == 0 else ""
                left = left if code else [each for each in left if each != number]
                assert time.monotonic() < deadline, said
        return done

    def s3(self, number: int, secret: str = SECRET) -> Any:
        boto3 = pytest.importorskip("boto3")
        return boto3.client(
            "s3",
            endpoint_url=f"http://127.0.0.1:{self.port(number, garage.S3_PORT)}",
            region_name="us-east-1",
            aws_access_key_id=KEY,
            aws_secret_access_key=secret,
        )

    def ask(self, number: int, call: str) -> Any:
        """What a member's admin API says."""
        url = f"http://127.0.0.1:{self.port(number, garage.ADMIN_PORT)}/v2/{call}"
        request = urllib.request.Request(url, headers={"Authorization": "Bearer admin-token"})
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)

    def health(self, number: int) -> int:
        """What the readiness probe is answered."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port(number, garage.ADMIN_PORT)}/health") as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code


VOLUMES = [garage.DATA, "/etc/garage", "/tmp"]


@pytest.fixture
def store(container: Any) -> Store:
    found = Store(container)
    found.start()
    for number in garage.MEMBERS:
        wait_for_port(found.port(number, garage.ADMIN_PORT))
    return found


def put(client: Any, key: str, content: bytes = b"content") -> None:
    client.put_object(Bucket=BUCKET, Key=key, Body=content)


def get(client: Any, key: str) -> bytes:
    found: bytes = client.get_object(Bucket=BUCKET, Key=key)["Body"].read()
    return found


def test_three_become_one_store_and_any_one_may_die(store: Store) -> None:
    assert store.health(0) == 503
    assert "made layout 1" in store.settle()
    assert store.settle() == ""  # all is as it should be: nothing is done
    first, second, third = (store.s3(number) for number in garage.MEMBERS)
    put(first, "one")
    assert get(third, "one") == b"content"

    store.kill(1)
    put(first, "two", b"x" * 2_000_000)
    assert get(third, "two") == b"x" * 2_000_000
    assert (store.health(0), store.health(2)) == (200, 200)

    store.kill(2)
    with pytest.raises(first.exceptions.ClientError):
        put(first, "lost")
    assert store.health(0) == 503

    store.start(1, 2)
    store.settle(1, 2)
    assert get(second, "two") == b"x" * 2_000_000
    assert [store.health(number) for number in garage.MEMBERS] == [200, 200, 200]


def test_the_key_is_for_its_bucket_and_the_quota_holds(store: Store) -> None:
    store.settle()
    client = store.s3(0)
    refused = client.exceptions.ClientError
    with pytest.raises(refused, match="AccessDenied"):
        get(store.s3(1, "wrong-wrong-wrong-wrong"), "one")
    with pytest.raises(refused, match="not allowed to create buckets"):
        client.create_bucket(Bucket="another")
    with pytest.raises(refused, match="quota is reached"):
        put(client, "large", b"x" * (QUOTA + 1))
    with pytest.raises(refused, match="NotImplemented"):
        client.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    store.environment = {"LIBRESH_QUOTA": str(2 * QUOTA)}
    assert store.settle(0) == "set the quota\n"
    put(client, "large", b"x" * (QUOTA + 1))


def test_a_new_key_takes_the_place_of_the_old(store: Store) -> None:
    store.settle()
    put(store.s3(0), "one")
    store.environment = {"LIBRESH_ACCESS_KEY_ID": "another-key-id"}
    assert "removed an earlier key" in store.settle(0)
    client = store.s3(2)
    with pytest.raises(client.exceptions.ClientError, match="AccessDenied"):
        get(client, "one")


@pytest.mark.parametrize("number", [0, 1])
def test_a_member_that_lost_its_volume_is_filled_again(store: Store, number: int) -> None:
    store.settle()
    others = [each for each in garage.MEMBERS if each != number]
    put(store.s3(others[0]), "one", b"x" * 100_000)
    store.kill(number)
    store.lose_volume(number)
    store.start(number)
    code, said = wait_for_layout(store, number)
    assert (code, "being filled" in said) == (1, True), said
    assert store.settle(number) == ""
    assert [each["status"] for each in store.ask(number, "GetClusterLayoutHistory")["versions"]][:1] == ["Current"]
    store.kill(others[1])
    assert get(store.s3(number), "one") == b"x" * 100_000


def wait_for_layout(store: Store, number: int) -> tuple[int, str]:
    """Until a member's startup probe made a new layout; how that probe ended."""
    deadline = time.monotonic() + PATIENCE
    while True:
        code, said = store.arrange(number)
        if "made layout 2" in said:
            return code, said
        assert code != 0, said
        assert time.monotonic() < deadline, said


@pytest.mark.parametrize("number", [0, 1])
def test_a_member_that_is_asked_to_end_leaves_no_silence(store: Store, number: int) -> None:
    """Whoever takes it for connected would wait for its answers once its address is gone."""
    store.settle()
    others = [each for each in garage.MEMBERS if each != number]
    assert [store.ask(each, "GetClusterHealth")["connectedNodes"] for each in others] == [3, 3]
    assert store.end(number) == 0
    assert [store.ask(each, "GetClusterHealth")["connectedNodes"] for each in others] == [2, 2]
    put(store.s3(others[0]), "one")


def test_a_first_layout_is_not_made_by_some(store: Store) -> None:
    """Who does not answer may know of a layout, with data."""
    store.kill(2)
    code, said = store.arrange(0)
    assert (code, "the first layout needs all" in said) == (1, True), said
    code, said = store.arrange(1)
    assert (code, "has not made a layout yet" in said) == (1, True), said
