"""Buckets on an S3 that somebody else runs: their names, what classes may say, what is published and reached."""

import json
from typing import Any

import msgspec
import pytest

from laws import samples
from libresh.api.meta import ObjectMeta
from libresh.drivers import drivers
from libresh.drivers.model import Ask, Seen
from libresh.drivers.s3_bucket.driver import bucket_name
from libresh.plan.actions import From, Literal, Object
from libresh.plan.decision import Waiting

S3 = drivers()["Bucket", "s3"]
PLACES = [("a-b", "c"), ("a", "b-c"), ("a-b-c", "d"), ("n" * 63, "x" * 46), ("n" * 63, "x" * 45 + "y"), ("a", "b")]


def ask(namespace: str = "team", name: str = "sample", **parameters: Any) -> Ask:
    claim = samples.sample_claim(S3, name)
    claim.metadata = ObjectMeta(name=name, namespace=namespace, uid=f"uid-of-{name}")
    given = msgspec.convert(samples.class_parameters(S3) | parameters, S3.parameters)
    return Ask(claim, "sample-class", given, True, samples.SETTINGS)


def planned(found: Ask) -> list[Object]:
    return samples.applied(S3.plan(found, samples.everything_seen(S3, S3.looks_at(found))).actions)


def applied(found: Ask, kind: str) -> Object:
    (obj,) = [obj for obj in planned(found) if obj["kind"] == kind and obj["metadata"]["namespace"] == "libresh-system"]
    return obj


def test_a_bucket_has_a_name_that_every_s3_takes_and_no_other_claim_has() -> None:
    for prefix in ("", "coop-", "p" * 20):
        names = [bucket_name(ask(*place, namePrefix=prefix)) for place in PLACES]
        assert len(set(names)) == len(PLACES)
        for name in names:
            assert 3 <= len(name) <= 63
            assert name.startswith(prefix)
            assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
            assert name[0] != "-" != name[-1]
            assert "--" not in name


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"endpoint": "s3.example.org"}, "endpoint"),
        ({"endpoint": "https://s3.example.org/folder"}, "endpoint"),
        ({"endpoint": "https://key:secret@s3.example.org"}, "endpoint"),
        ({"endpoint": "https://s3.example.org:70000"}, "there is no such port"),
        ({"endpoint": "https://s3.example.org:0"}, "there is no such port"),
        ({"endpoint": "http://x${id}"}, "endpoint"),
        ({"region": "a b"}, "region"),
        ({"iam": {"endpoint": "ftp://iam.example.org"}}, "iam.endpoint"),
        ({"iam": {"endpoint": "https://iam.example.org"}, "keys": "shared"}, "with keys: shared leave it out"),
        ({"keys": "none"}, "keys"),
        ({"endpoint": "http://s3", "caRef": {"name": "a"}}, "caRef is only looked at where an endpoint is https"),
        ({"namePrefix": "Coop_"}, "namePrefix"),
        ({"namePrefix": "p" * 21}, "namePrefix"),
        ({"adminSecretRef": {"name": "../x"}}, "name"),
        ({"lifecycle": {}}, "lifecycle says nothing"),
        ({"lifecycle": {"abortUploadsAfter": 0}}, "abortUploadsAfter"),
        ({"lifecycle": {"expireNoncurrentAfter": "7d"}}, "expireNoncurrentAfter"),
        ({"corsOrigins": ["files.example.org"]}, "corsOrigins"),
        ({"corsOrigins": ["https://files.example.org/path"]}, "corsOrigins"),
        ({"secret": "x"}, "secret"),
    ],
)
def test_a_class_that_cannot_work_is_refused_by_its_field(parameters: Object, said: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=said):
        ask(**parameters)


def test_an_errand_reaches_the_server_where_users_are_made_and_the_api() -> None:
    def ports(**parameters: Any) -> list[int]:
        egress = applied(ask(**parameters), "NetworkPolicy")["spec"]["egress"]
        return [port["port"] for rule in egress for port in rule["ports"]]

    assert ports() == [53, 53, 443, 443, 6443]
    assert ports(endpoint="http://s3.example.org", iam={"endpoint": "http://s3.example.org:8111/"}) == [
        53,
        53,
        80,
        8111,
        443,
        6443,
    ]


def test_an_order_has_no_secret() -> None:
    (container,) = applied(ask(), "Job")["spec"]["template"]["spec"]["containers"]
    assert container["args"] == ["s3", "provide"]
    order = json.loads(container["env"][0]["value"])
    assert order == {
        "bucket": bucket_name(ask()),
        "class": "sample-class",
        "cluster": samples.SETTINGS.cluster,
        "editions": ["first"],
        "endpoint": "https://s3.example.org",
        "for": "Bucket team/sample",
        "host": "s3.example.org",
        "iam": None,
        "keys": "own",
        "lifecycle": None,
        "origins": [],
        "pathStyle": True,
        "port": 443,
        "region": "us-east-1",
        "versioning": False,
    }


def connection(**parameters: Any) -> dict[str, Any]:
    found = ask(**parameters)
    values = S3.plan(found, samples.everything_seen(S3, S3.looks_at(found))).connection
    assert values is not None
    return dict(values)


def test_the_connection_says_where_and_how() -> None:
    plain = connection()
    assert (plain["host"], plain["port"]) == (Literal("s3.example.org"), Literal("443"))
    assert "path-style" not in plain
    assert isinstance(plain["secret-access-key"], From)
    assert plain["secret-access-key"].source.key == "first.secret-access-key"
    other = connection(endpoint="http://[fd00::1]:9000", pathStyle=False)
    assert (other["host"], other["port"]) == (Literal("fd00::1"), Literal("9000"))
    assert other["path-style"] == Literal("false")
    assert "@[fd00::1]:9000/" in other["uri"].text
    trusted = connection(caRef={"name": "authority", "kind": "Secret"})
    assert isinstance(trusted["ca.crt"], From)


def test_what_is_missing_is_told_by_its_field() -> None:
    found = ask(caRef={"name": "authority"})
    nothing = S3.plan(found, Seen()).outcome
    assert isinstance(nothing, Waiting)
    assert nothing.reason == "AdministratorMissing"
    assert "spec.parameters.adminSecretRef: there is no Secret libresh-system/admin with the keys" in nothing.message
    seen = samples.everything_seen(S3, S3.looks_at(found))
    admin = {ref: samples.secret_view(ref, frozenset({"access-key-id", "secret-access-key"})) for ref in seen.secrets}
    without = S3.plan(found, Seen(secrets=admin)).outcome
    assert isinstance(without, Waiting)
    assert without.reason == "AuthorityMissing"


def test_a_key_that_is_handed_out_is_handed_out_anew_when_it_is_another_one() -> None:
    def job(digest: str, keys: str) -> str:
        found = ask(keys=keys)
        seen = samples.everything_seen(S3, S3.looks_at(found))
        secrets = {
            ref: msgspec.structs.replace(view, digest=digest) if ref.name == "admin" and view else view
            for ref, view in seen.secrets.items()
        }
        actions = S3.plan(found, Seen(secrets=secrets)).actions
        return next(obj["metadata"]["name"] for obj in samples.applied(actions) if obj["kind"] == "Job")

    assert job("one", "shared") != job("another", "shared")
    assert job("one", "own") == job("another", "own")


def test_only_keys_that_are_made_can_be_made_anew() -> None:
    assert S3.capabilities(ask().parameters) == ("rotate",)
    assert S3.capabilities(ask(keys="shared").parameters) == ()
