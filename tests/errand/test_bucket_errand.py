"""The errand for buckets, run as it stands in its image, against a fake of an S3 with users.

Against a real server, out of the image: tests/images/test_errand_s3.py.
"""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from laws.whole import deaths
from support.fake_aws import FakeAws

PROGRAM = Path(__file__).resolve().parents[2] / "build" / "images" / "errand"
BUCKET = "team-mine-0123456789abcdef"
Key = tuple[str, str]


@pytest.fixture(scope="module")
def aws() -> Iterator[FakeAws]:
    with FakeAws() as server:
        yield server


@pytest.fixture(scope="module")
def program() -> Iterator[Any]:
    sys.path.insert(0, str(PROGRAM))
    yield importlib.import_module("libresh_errand.s3")
    sys.path.remove(str(PROGRAM))


class Doing:
    """The program with an order, and the Secret beside the claim that it gives back to."""

    def __init__(self, aws: FakeAws, program: Any, folder: Path) -> None:
        self.aws, self.program, self.folder = aws, program, folder
        self.admin = aws.begin()
        self.given: dict[str, str] = {}
        self.order: dict[str, Any] = {
            "host": "127.0.0.1",
            "port": aws.port,
            "endpoint": aws.url,
            "region": "us-east-1",
            "pathStyle": True,
            "iam": None,
            "for": "Bucket team/mine",
            "cluster": "here",
            "class": "outside",
            "bucket": BUCKET,
            "keys": "own",
            "editions": ["first"],
            "versioning": False,
            "lifecycle": None,
            "origins": [],
        }

    def do(self, task: str, **order: Any) -> Any:
        common = sys.modules["libresh_errand.errand"]
        for path in self.folder.iterdir():
            path.unlink()
        secrets = {"admin-access-key-id": self.admin[0], "admin-secret-access-key": self.admin[1], **self.given}
        for name, value in secrets.items():
            (self.folder / name).write_text(value)
        errand = common.Errand(self.order | order, self.folder)  # type: ignore[attr-defined]
        getattr(self.program, task)(errand)
        return errand

    def refused(self, task: str, **order: Any) -> str:
        common = sys.modules["libresh_errand.errand"]
        with pytest.raises(common.Refused) as found:  # type: ignore[attr-defined]
            self.do(task, **order)
        return str(found.value)

    def key(self, edition: str = "first") -> Key:
        return self.given[f"{edition}.access-key-id"], self.given[f"{edition}.secret-access-key"]

    def s3(self, key: Key | None = None) -> Any:
        return self.aws.client("s3", key or self.admin)

    def iam(self) -> Any:
        return self.aws.client("iam", self.admin)

    def keys(self, user: str = BUCKET) -> set[str]:
        found = self.iam().list_access_keys(UserName=user)["AccessKeyMetadata"]
        return {key["AccessKeyId"] for key in found}


@pytest.fixture
def doing(aws: FakeAws, program: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Doing:
    found = Doing(aws, program, tmp_path)

    def give(errand: Any, values: dict[str, str]) -> None:
        found.given = dict(values)

    monkeypatch.setattr(program, "give", give)
    monkeypatch.setattr(program, "SPREADING", 2)
    return found


def denied(call: Any, **arguments: Any) -> bool:
    try:
        call(**arguments)
    except ClientError as error:
        return error.response["Error"]["Code"] in ("AccessDenied", "403")
    return False


def test_a_bucket_is_made_with_a_key_that_opens_it_and_no_other(doing: Doing) -> None:
    doing.s3().create_bucket(Bucket="somebody-elses")
    doing.s3().put_object(Bucket="somebody-elses", Key="a", Body=b"secret")
    doing.do("provide")
    abilities = {key for key in doing.given if key.startswith("can.")}
    assert abilities == {"can.versioning", "can.lifecycle", "can.cors", "can.tags", "can.policy", "can.scoped-key"}
    page = (PROGRAM.parents[2] / "docs" / "kinds" / "serviceclass.md").read_text()
    assert all(f"`{ability.removeprefix('can.')}`" in page for ability in abilities), "each word is explained"
    mine = doing.s3(doing.key())
    mine.put_object(Bucket=BUCKET, Key="a/b", Body=b"hello")
    assert mine.get_object(Bucket=BUCKET, Key="a/b")["Body"].read() == b"hello"
    upload = mine.create_multipart_upload(Bucket=BUCKET, Key="large")
    mine.abort_multipart_upload(Bucket=BUCKET, Key="large", UploadId=upload["UploadId"])
    mine.delete_object(Bucket=BUCKET, Key="a/b")
    assert denied(mine.get_object, Bucket="somebody-elses", Key="a")
    assert denied(mine.put_object, Bucket="somebody-elses", Key="a", Body=b"")
    assert denied(mine.list_objects_v2, Bucket="somebody-elses")
    assert denied(mine.list_buckets)
    assert denied(mine.delete_bucket, Bucket=BUCKET)
    assert denied(mine.put_bucket_policy, Bucket=BUCKET, Policy="{}")
    assert denied(mine.delete_bucket_tagging, Bucket=BUCKET)
    assert denied(doing.aws.client("iam", doing.key()).create_user, UserName="another")


def test_it_may_be_done_again_and_what_works_is_kept(doing: Doing) -> None:
    doing.do("provide")
    first = doing.key()
    doing.s3().put_object(Bucket=BUCKET, Key="a", Body=b"")
    doing.do("provide")
    assert doing.key() == first
    assert doing.keys() == {first[0]}


def test_a_key_that_was_lost_on_the_way_back_is_replaced(doing: Doing) -> None:
    for _ in range(3):
        doing.do("provide")
        doing.given = {}
    doing.do("provide")
    assert doing.keys() == {doing.key()[0]}
    assert not denied(doing.s3(doing.key()).list_objects_v2, Bucket=BUCKET)


def test_two_keys_live_until_the_old_one_is_taken_away(doing: Doing) -> None:
    doing.do("provide")
    old = doing.key()
    doing.do("provide", editions=["first", "second"])
    assert doing.key() == old
    assert doing.keys() == {old[0], doing.key("second")[0]}
    for key in (old, doing.key("second")):
        assert not denied(doing.s3(key).list_objects_v2, Bucket=BUCKET)
    doing.do("provide", editions=["second"])
    assert doing.keys() == {doing.key("second")[0]}
    assert not [key for key in doing.given if key.startswith("first.")]


def test_a_key_of_another_hand_is_not_believed(doing: Doing) -> None:
    doing.do("provide")
    doing.given["first.access-key-id"], doing.given["first.secret-access-key"] = "AKIAINVENTED00000000", "invented"
    doing.do("provide")
    assert doing.keys() == {doing.key()[0]}
    assert doing.key()[1] != "invented"


def test_what_is_declared_is_kept_by_the_server(doing: Doing) -> None:
    lifecycle = {"abortUploadsAfter": 7, "expireNoncurrentAfter": 30}
    origins = ["https://files.example.org", "https://*.example.org"]
    doing.do("provide", versioning=True, lifecycle=lifecycle, origins=origins)
    s3 = doing.s3()
    assert s3.get_bucket_versioning(Bucket=BUCKET)["Status"] == "Enabled"
    rules = {rule["ID"]: rule for rule in s3.get_bucket_lifecycle_configuration(Bucket=BUCKET)["Rules"]}
    assert rules["libresh-uploads"]["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 7}
    assert rules["libresh-versions"]["NoncurrentVersionExpiration"]["NoncurrentDays"] == 30
    assert s3.get_bucket_cors(Bucket=BUCKET)["CORSRules"][0]["AllowedOrigins"] == origins
    assert s3.get_bucket_tagging(Bucket=BUCKET)["TagSet"] == [
        {"Key": "libre.sh/for", "Value": "Bucket team/mine of cluster here"}
    ]
    doing.do("provide", lifecycle=lifecycle, origins=origins)
    assert s3.get_bucket_versioning(Bucket=BUCKET)["Status"] == "Suspended"


def test_a_bucket_of_somebody_else_is_left_alone(doing: Doing) -> None:
    doing.s3().create_bucket(Bucket=BUCKET)
    doing.s3().put_object(Bucket=BUCKET, Key="a", Body=b"theirs")
    for task in ("provide", "remove"):
        said = doing.refused(task)
        assert (
            f"has a bucket {BUCKET} that libre.sh did not make for Bucket team/mine of this cluster: it is left alone"
            in said
        )
    assert doing.s3().get_object(Bucket=BUCKET, Key="a")["Body"].read() == b"theirs"
    tags = {"TagSet": [{"Key": "libre.sh/for", "Value": "Bucket team/mine of cluster there"}]}
    doing.s3().put_bucket_tagging(Bucket=BUCKET, Tagging=tags)
    doing.s3().delete_object(Bucket=BUCKET, Key="a")
    said = doing.refused("provide")
    assert "of this cluster (it says: Bucket team/mine of cluster there): it is left alone" in said, "although empty"
    assert BUCKET not in {user["UserName"] for user in doing.iam().list_users()["Users"]}


def test_one_that_was_killed_before_it_was_marked_is_taken_up(doing: Doing) -> None:
    doing.s3().create_bucket(Bucket=BUCKET)
    doing.do("provide")
    assert doing.s3().get_bucket_tagging(Bucket=BUCKET)["TagSet"][0]["Value"] == "Bucket team/mine of cluster here"


def test_remove_leaves_nothing_and_may_be_done_again(doing: Doing, monkeypatch: pytest.MonkeyPatch) -> None:
    doing.s3().create_bucket(Bucket="somebody-elses")
    doing.do("provide", versioning=True)
    mine = doing.s3(doing.key())
    monkeypatch.setattr(doing.program, "BATCH", 10)
    for number in range(25):
        mine.put_object(Bucket=BUCKET, Key=f"k/{number}", Body=b"")
    for body in (b"1", b"2"):
        mine.put_object(Bucket=BUCKET, Key="a", Body=body)
    mine.delete_object(Bucket=BUCKET, Key="a")
    mine.create_multipart_upload(Bucket=BUCKET, Key="begun")
    for _ in range(2):
        doing.do("remove", editions=[])
        assert [bucket["Name"] for bucket in doing.s3().list_buckets()["Buckets"]] == ["somebody-elses"]
        assert [user["UserName"] for user in doing.iam().list_users()["Users"]] == ["admin"]


STEPS = (
    "create_bucket put_bucket_tagging put_bucket_versioning create_user put_user_policy create_access_key "
    "delete_access_key delete_user_policy delete_user delete_objects delete_bucket"
)


@pytest.mark.parametrize("step", deaths(STEPS.split()))
@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_beside_any_write_it_is_done_again(
    doing: Doing, monkeypatch: pytest.MonkeyPatch, step: str, when: str
) -> None:
    class Killed(BaseException):
        pass

    real, killed = doing.program.client, []

    def client(errand: Any, service: str, key: Any = None) -> Any:
        found = real(errand, service, key)
        call = getattr(found, step, None)
        if call is None or killed:
            return found

        def dying(**arguments: Any) -> Any:
            if killed:
                return call(**arguments)
            killed.append(step)
            if when == "after":
                call(**arguments)
            raise Killed

        dying.__name__ = step
        setattr(found, step, dying)
        return found

    monkeypatch.setattr(doing.program, "client", client)

    def again(task: str, **order: Any) -> None:
        try:
            doing.do(task, **order)
        except Killed:
            doing.do(task, **order)

    again("provide", versioning=True)
    doing.s3(doing.key()).put_object(Bucket=BUCKET, Key="a", Body=b"")
    assert doing.keys() == {doing.key()[0]}
    again("remove", editions=[])
    assert killed == [step], "the step was taken"
    assert doing.s3().list_buckets()["Buckets"] == []
    assert [user["UserName"] for user in doing.iam().list_users()["Users"]] == ["admin"]


def test_the_classes_own_key_is_handed_out_where_it_says_so(doing: Doing) -> None:
    doing.do("provide", keys="shared")
    assert doing.key() == doing.admin
    assert "can.scoped-key" not in doing.given
    assert [user["UserName"] for user in doing.iam().list_users()["Users"]] == ["admin"]
    said = doing.refused("provide", keys="shared", editions=["first", "second"])
    assert said.startswith("services.libre.sh/rotate: ServiceClass outside hands out its own key")
    doing.do("remove", keys="shared", editions=[])
    assert doing.s3().list_buckets()["Buckets"] == []


def test_a_wrong_administrator_a_right_that_is_missing_and_a_server_that_is_away_are_told(doing: Doing) -> None:
    common: Any = sys.modules["libresh_errand.errand"]
    server = f"127.0.0.1:{doing.aws.port}"
    admin = doing.admin
    doing.admin = ("AKIAINVENTED00000000", "invented")
    with pytest.raises(common.Trouble, match=f"{server} does not let the administrator in: Invalid"):
        doing.do("provide")
    doing.admin = admin
    with pytest.raises(common.Trouble, match=r"127.0.0.1:1 cannot be reached: Connection refused"):
        doing.do("provide", endpoint="http://127.0.0.1:1", iam={"endpoint": doing.aws.url}, port=1)
    doing.do("provide")
    doing.admin = doing.key()
    said = doing.refused("provide")
    assert said.startswith(f"ServiceClass outside: spec.parameters.keys: {server} makes no users for this key")
    assert "keys: shared" in said
