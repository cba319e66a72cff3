"""Secrets that are made, kept, copied, hashed and filled in, against the API server in memory."""

import base64
import logging
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest

from libresh.errors import LibreshError
from libresh.kube import minting
from libresh.kube.auth import Access
from libresh.kube.client import Client
from libresh.kube.cluster import Cluster
from libresh.kube.crypt import fits
from libresh.kube.errors import Pending
from libresh.kube.minting import Minter, filled, fresh_value
from libresh.kube.reader import PassReader
from libresh.plan.actions import From, Hashed, Literal, Mint, Random, SecretKey, Template
from libresh.ports import Watched
from support.fakeapi import FakeApi, Server

META = {"name": "s", "namespace": "ns"}


class Mintery:
    """A fake API server and a minter."""

    def __init__(self, api: FakeApi, client: Client) -> None:
        self.api = api
        self.cluster = Cluster(client, [Watched("Secret", writes=True)])
        self.minter = Minter(self.cluster)
        self.reader = PassReader(self.cluster, ("X", "ns", "x"), "uid", frozenset({"Secret"}))

    async def mint(self, refresh: bool = True, **values: Any) -> bool:
        if refresh:
            await self.cluster.refresh()
        return await self.minter.mint(Mint(META, values), self.reader, lambda meta: None)

    def put(self, name: str, **data: str) -> None:
        encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
        found = self.api.get("Secret", name, "ns")
        if found is None:
            body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": "ns"}}
            self.api.create({**body, "data": encoded})
        else:
            self.api.edit("Secret", name, "ns", data=encoded)

    def data(self, name: str = "s") -> dict[str, str]:
        found = self.api.get("Secret", name, "ns") or {}
        return {key: base64.b64decode(value).decode() for key, value in found.get("data", {}).items()}


@pytest.fixture
async def mintery() -> AsyncIterator[Mintery]:
    api = FakeApi()
    async with Server(api) as server, Client(Access(server.url)) as client:
        yield Mintery(api, client)


async def test_a_random_value_is_made_once(mintery: Mintery) -> None:
    assert await mintery.mint(password=Random())
    made = mintery.data()
    assert len(made["password"]) >= 32
    assert not await mintery.mint(password=Random())
    assert not await mintery.mint(password=Random(bytes=64, form="hex"))
    assert mintery.data() == made


async def test_a_random_value_is_kept_although_the_label_was_taken_off(mintery: Mintery) -> None:
    await mintery.mint(password=Random())
    made = mintery.data()
    mintery.api.edit("Secret", "s", "ns", metadata={"labels": {"app.kubernetes.io/managed-by": None}})
    assert await mintery.mint(password=Random())
    assert mintery.data() == made


async def test_a_random_value_is_kept_although_the_cache_is_behind(mintery: Mintery) -> None:
    await mintery.cluster.refresh()
    mintery.put("s", password="restored by hand")
    await mintery.mint(refresh=False, password=Random())
    assert mintery.data() == {"password": "restored by hand"}


async def test_a_value_put_back_meanwhile_wins(mintery: Mintery) -> None:
    await mintery.mint(password=Random(), other=Literal("1"))
    mintery.api.edit("Secret", "s", "ns", data={"password": None})
    await mintery.cluster.refresh()
    mintery.put("s", password="from the backup")
    with pytest.raises(LibreshError, match="s"):
        await mintery.mint(refresh=False, password=Random(), other=Literal("1"))
    await mintery.mint(refresh=False, password=Random(), other=Literal("1"))
    assert mintery.data() == {"password": "from the backup", "other": "1"}


async def test_a_lost_value_comes_back_from_where_it_survived(mintery: Mintery) -> None:
    mintery.put("copy", old="survivor")
    sources = (SecretKey("ns", "nowhere", "x"), SecretKey("ns", "copy", "none"), SecretKey("ns", "copy", "old"))
    await mintery.mint(password=Random(recover=sources))
    assert mintery.data() == {"password": "survivor"}


async def test_only_the_missing_value_is_made_again(mintery: Mintery) -> None:
    await mintery.mint(a=Random(), b=Random())
    first = mintery.data()
    mintery.api.edit("Secret", "s", "ns", data={"b": None})
    await mintery.mint(a=Random(), b=Random())
    second = mintery.data()
    assert second["a"] == first["a"]
    assert second["b"] not in ("", first["b"])


async def test_keys_that_are_not_wished_for_are_removed(mintery: Mintery) -> None:
    await mintery.mint(a=Literal("1"), b=Literal("2"))
    mintery.put("s", c="3")
    await mintery.mint(a=Literal("1"))
    assert mintery.data() == {"a": "1"}


async def test_a_changed_literal_is_written_and_healed(mintery: Mintery) -> None:
    await mintery.mint(a=Literal("1"))
    assert await mintery.mint(a=Literal("2"))
    mintery.put("s", a="edited")
    assert await mintery.mint(a=Literal("2"))
    assert mintery.data() == {"a": "2"}


async def test_nothing_is_written_while_a_source_is_missing(mintery: Mintery) -> None:
    with pytest.raises(Pending, match=r"the key k of Secret ns/source"):
        await mintery.mint(made=Random(), copied=From(SecretKey("ns", "source", "k")))
    assert mintery.api.get("Secret", "s", "ns") is None
    mintery.put("source", k="v")
    await mintery.mint(made=Random(), copied=From(SecretKey("ns", "source", "k")))
    assert mintery.data()["copied"] == "v"


async def test_a_hash_is_kept_while_it_fits(mintery: Mintery) -> None:
    values = {"hashed": Hashed("password"), "password": Random()}
    await mintery.mint(**values)
    first = mintery.data()
    assert fits(first["password"], first["hashed"])
    mintery.put("s", extra="wakes it")
    await mintery.mint(**values)
    assert mintery.data() == first
    mintery.put("s", password="chosen by hand")
    await mintery.mint(**values)
    assert fits("chosen by hand", mintery.data()["hashed"])


async def test_the_hash_of_a_value_elsewhere(mintery: Mintery) -> None:
    mintery.put("source", k="v")
    await mintery.mint(hashed=Hashed(SecretKey("ns", "source", "k")))
    assert fits("v", mintery.data()["hashed"])
    mintery.put("source", k="w")
    await mintery.mint(hashed=Hashed(SecretKey("ns", "source", "k")))
    assert fits("w", mintery.data()["hashed"])


async def test_a_template_takes_values_from_here_and_elsewhere(mintery: Mintery) -> None:
    mintery.put("db", user="ann", password="p@ss/word")
    places = {"u": SecretKey("ns", "db", "user"), "p": SecretKey("ns", "db", "password"), "own": "name"}
    wish = Template("postgresql://${u}:${p}@db/${own}?x=$${y}", places, quote="url")
    await mintery.mint(uri=wish, name=Literal("app"))
    assert mintery.data()["uri"] == "postgresql://ann:p%40ss%2Fword@db/app?x=${y}"


async def test_a_value_made_of_itself_is_refused(mintery: Mintery) -> None:
    with pytest.raises(LibreshError, match="made of itself"):
        await mintery.mint(a=Template("${b}", {"b": "b"}), b=Template("${a}", {"a": "a"}))


async def test_values_stay_out_of_logs_and_errors(mintery: Mintery, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    mintery.put("source", k="hunter2")
    await mintery.mint(made=Random(), copied=From(SecretKey("ns", "source", "k")))
    mintery.api.faults.refuse(422, verb="apply", kind="Secret", times=1)
    with pytest.raises(LibreshError) as caught:
        await mintery.mint(made=Random(), copied=From(SecretKey("ns", "source", "k")), more=Literal("hunter2"))
    everything = caplog.text + str(caught.value) + repr(caught.value.args)
    for value in ("hunter2", "aHVudGVyMg==", mintery.data()["made"]):
        assert value not in everything


async def test_the_passwords_hash_is_not_worked_out_on_a_settled_pass(
    mintery: Mintery, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {"hashed": Hashed("password"), "password": Random()}
    await mintery.mint(**values)
    monkeypatch.setattr(minting.crypt, "fits", None)
    assert not await mintery.mint(refresh=False, **values)


@pytest.mark.parametrize(
    ("form", "pattern"),
    [
        ("hex", r"[0-9a-f]{48}"),
        ("base64", r"[A-Za-z0-9+/]{32}"),
        ("alphanumeric", r"[A-Za-z0-9]{33}"),
        ("synapse-signing-key", r"ed25519 a_[A-Za-z0-9]{4} [A-Za-z0-9+/]{43}"),
    ],
)
def test_forms(form: str, pattern: str) -> None:
    made = {fresh_value(Random(bytes=24, form=form)).decode() for _ in range(20)}
    assert len(made) == 20
    assert all(re.fullmatch(pattern, value) for value in made)


@pytest.mark.parametrize(
    ("quote", "value", "text"),
    [
        ("", "a b", "a b"),
        ("url", "a/b:@", "a%2Fb%3A%40"),
        ("yaml", 'a"b\n', '"a\\"b\\n"'),
        ("pgpass", "a:b\\c", "a\\:b\\\\c"),
    ],
)
def test_quoting(quote: str, value: str, text: str) -> None:
    assert filled("<${v}>", {"v": value}, quote) == f"<{text}>"


def test_a_place_without_a_value_is_refused() -> None:
    with pytest.raises(LibreshError, match="other"):
        filled("${other}", {"v": "x"}, "")
