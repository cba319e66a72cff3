"""What libresh-garage does of three members, over a fake of Garage's admin API with a layout, keys and a bucket."""

import importlib.machinery
import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

PROGRAM = Path(__file__).resolve().parents[2] / "build" / "images" / "garage" / "libresh-garage"
HOSTS = ["zero:3903", "one:3903", "two:3903"]
SETTINGS = {
    "LIBRESH_MEMBER": "1",
    "LIBRESH_BUCKET": "files",
    "LIBRESH_QUOTA": "1000",
    "LIBRESH_ACCESS_KEY_ID": "key",
    "LIBRESH_SECRET_ACCESS_KEY": "secret",
}


class Killed(Exception):
    """The program is ended here."""


class FakeGarage:
    """Three members that agree on everything at once, unless they are away or have not heard of the layout yet."""

    def __init__(self, tool: ModuleType) -> None:
        self.tool = tool
        self.names = {host: f"id-of-{host}" for host in HOSTS}
        self.away: set[str] = set()
        self.deaf: set[str] = set()
        """Those that know of no layout yet."""
        self.calls: set[tuple[str, str]] = set()
        """Who has a connection to whom, by host and name."""
        self.version, self.roles, self.staged = 0, {}, {}  # type: int, dict[str, str], dict[str, str | None]
        self.ghosts: set[str] = set()
        """Those of earlier volumes, whose word for the newest layout is waited for."""
        self.filled = True
        self.bucket: dict[str, Any] | None = None
        self.keys: dict[str, str] = {}
        self.written: list[str] = []
        self.kill_after = 1000

    def ask(self, member: str, call: str, body: Any = None, *, patience: float = 5, **query: str) -> Any:
        if member in self.away:
            raise self.tool.NotYet(f"{member} does not answer {call}")
        found: Any = getattr(self, call)(member, body, query)
        if body is not None:
            self.written.append(call)
            if len(self.written) >= self.kill_after:
                raise Killed
        return found

    def GetNodeInfo(self, member: str, body: Any, query: Any) -> Any:
        return {"success": {self.names[member]: {}}}

    def GetClusterStatus(self, member: str, body: Any, query: Any) -> Any:
        own = self.names[member]
        nodes = [
            {"id": name, "isUp": name == own or (member, name) in self.calls, "role": self.role(name)}
            for name in self.names.values()
        ]
        return {"nodes": nodes}

    def role(self, name: str) -> Any:
        return {"zone": self.roles[name]} if name in self.roles else None

    def GetClusterHealth(self, member: str, body: Any, query: Any) -> Any:
        up = len(HOSTS) - len(self.away)
        return {"status": "healthy" if up >= 2 else "unavailable", "storageNodesUp": up, "storageNodes": len(HOSTS)}

    def ConnectClusterNodes(self, member: str, body: Any, query: Any) -> Any:
        assert all(peer.endswith(":3901") for peer in body)
        self.calls |= {(member, peer.partition("@")[0]) for peer in body}
        return [{"success": True, "error": None} for _ in body]

    def GetClusterLayout(self, member: str, body: Any, query: Any) -> Any:
        if member in self.deaf:
            return {"version": 0, "roles": []}
        return {"version": self.version, "roles": [{"id": n, "zone": z} for n, z in self.roles.items()]}

    def UpdateClusterLayout(self, member: str, body: Any, query: Any) -> Any:
        self.staged |= {each["id"]: None if each.get("remove") else each["zone"] for each in body["roles"]}

    def ApplyClusterLayout(self, member: str, body: Any, query: Any) -> Any:
        assert body["version"] == self.version + 1
        merged = {**self.roles, **self.staged}
        self.ghosts |= {name for name, zone in merged.items() if not zone}
        self.filled = not self.version
        self.version, self.roles, self.staged = body["version"], {n: z for n, z in merged.items() if z}, {}

    def ClusterLayoutSkipDeadNodes(self, member: str, body: Any, query: Any) -> Any:
        assert body == {"version": self.version, "allowMissingData": False}
        assert not self.away, "who is away for a while only is waited for"
        self.ghosts.clear()

    def GetClusterLayoutHistory(self, member: str, body: Any, query: Any) -> Any:
        statuses = ["Current"] + ["Historical" if self.filled and not self.ghosts else "Draining"] * (self.version > 1)
        versions = [{"status": status} for status in statuses]
        return {"currentVersion": self.version, "minAck": self.version - bool(self.ghosts), "versions": versions}

    def GetBucketInfo(self, member: str, body: Any, query: Any) -> Any:
        if self.bucket is None:
            raise self.tool.Refused("GetBucketInfo", 404, "no such bucket")
        return self.bucket

    def CreateBucket(self, member: str, body: Any, query: Any) -> Any:
        self.bucket = {"id": "b", "keys": [], "quotas": {"maxSize": None}}
        return self.bucket

    def GetKeyInfo(self, member: str, body: Any, query: Any) -> Any:
        if query["id"] not in self.keys:
            raise self.tool.Refused("GetKeyInfo", 404, "no such key")

    def ImportKey(self, member: str, body: Any, query: Any) -> Any:
        assert body["secretAccessKey"] == "secret"
        self.keys[body["accessKeyId"]] = body["name"]

    def ListKeys(self, member: str, body: Any, query: Any) -> Any:
        return [{"id": key, "name": name} for key, name in self.keys.items()]

    def DeleteKey(self, member: str, body: Any, query: Any) -> Any:
        del self.keys[query["id"]]

    def AllowBucketKey(self, member: str, body: Any, query: Any) -> Any:
        assert self.bucket is not None
        self.bucket["keys"].append({"accessKeyId": body["accessKeyId"], "permissions": body["permissions"]})

    def UpdateBucket(self, member: str, body: Any, query: Any) -> Any:
        assert self.bucket is not None
        self.bucket["quotas"] = body["quotas"]


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> Any:
    loader = importlib.machinery.SourceFileLoader("libresh_garage", str(PROGRAM))
    spec = importlib.util.spec_from_loader("libresh_garage", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    monkeypatch.setattr(module, "MEMBERS", HOSTS)
    monkeypatch.setattr(module, "PEERS", [host.replace("3903", "3901") for host in HOSTS])
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)
    return module


@pytest.fixture
def store(tool: Any, monkeypatch: pytest.MonkeyPatch) -> FakeGarage:
    found = FakeGarage(tool)
    monkeypatch.setattr(tool, "ask", found.ask)
    return found


def everything(tool: Any) -> None:
    for number in range(len(HOSTS)):
        tool.arrange(number)


def test_three_strangers_become_one_store_and_then_nothing_is_done(tool: Any, store: FakeGarage) -> None:
    everything(tool)
    assert store.roles == {f"id-of-{host}": f"member-{number}" for number, host in enumerate(HOSTS)}
    assert store.bucket is not None
    assert store.bucket["quotas"] == {"maxSize": 1000, "maxObjects": None}
    assert [each["accessKeyId"] for each in store.bucket["keys"]] == ["key"]
    assert len(store.calls) == 6  # each calls each other one
    store.written.clear()
    everything(tool)
    assert store.written == []


@pytest.mark.parametrize("after", range(1, 9))
def test_it_may_be_ended_after_any_step(tool: Any, store: FakeGarage, after: int) -> None:
    store.kill_after = after
    with pytest.raises(Killed):
        everything(tool)
    store.kill_after = 1000
    everything(tool)
    assert (store.version, len(store.roles), list(store.keys)) == (1, 3, ["key"])
    assert store.bucket is not None
    assert (len(store.bucket["keys"]), store.bucket["quotas"]["maxSize"]) == (1, 1000)


def test_the_first_layout_waits_for_all_and_is_the_first_members_to_make(tool: Any, store: FakeGarage) -> None:
    with pytest.raises(tool.NotYet, match="first member has not made"):
        tool.arrange(1)
    store.away = {HOSTS[2]}
    with pytest.raises(tool.NotYet, match="needs all"):
        tool.arrange(0)
    assert store.version == 0


@pytest.mark.parametrize("number", [0, 1])
def test_who_has_not_heard_of_the_layout_makes_none(tool: Any, store: FakeGarage, number: int) -> None:
    everything(tool)
    store.deaf = {HOSTS[number]}
    store.names[HOSTS[number]] = "id-of-another-volume"
    with pytest.raises(tool.NotYet, match="has not come"):
        tool.arrange(number)
    assert store.version == 1


def lose_volume(store: FakeGarage, number: int) -> None:
    """Its member begins anew, and calls everybody."""
    store.names[HOSTS[number]] = "id-of-another-volume"


@pytest.mark.parametrize("number", [0, 1])
def test_a_lost_volume_takes_its_own_place_and_no_other(tool: Any, store: FakeGarage, number: int) -> None:
    everything(tool)
    before = dict(store.roles)
    lose_volume(store, number)
    store.away = {HOSTS[2]}
    with pytest.raises(tool.NotYet, match="being filled"):
        tool.arrange(number)
    del before[f"id-of-{HOSTS[number]}"]
    assert store.roles == before | {"id-of-another-volume": f"member-{number}"}


@pytest.mark.parametrize("number", [0, 1])
def test_a_member_has_not_started_before_it_is_filled(tool: Any, store: FakeGarage, number: int) -> None:
    everything(tool)
    lose_volume(store, number)
    store.written.clear()
    for _ in range(2):
        with pytest.raises(tool.NotYet, match="being filled"):
            tool.arrange(number)
    assert not store.ghosts
    assert not {"CreateBucket", "ImportKey"} & set(store.written), "it does not know yet what there is"
    store.filled = True
    tool.arrange(number)


def test_ended_after_its_new_layout_it_still_lets_the_lost_volume_go(tool: Any, store: FakeGarage) -> None:
    everything(tool)
    lose_volume(store, 1)
    store.kill_after = len(store.written) + 4  # two call it, and a layout is staged and made
    with pytest.raises(Killed):
        tool.arrange(1)
    assert (store.version, store.ghosts) == (2, {f"id-of-{HOSTS[1]}"})
    store.kill_after = 1000
    with pytest.raises(tool.NotYet, match="being filled"):
        tool.arrange(1)
    assert not store.ghosts


def test_alone_it_changes_no_layout(tool: Any, store: FakeGarage) -> None:
    everything(tool)
    store.names[HOSTS[1]] = "id-of-another-volume"
    store.away = {HOSTS[0], HOSTS[2]}
    with pytest.raises(tool.NotYet, match="most members do not answer"):
        tool.arrange(1)
    assert store.version == 1


def test_an_earlier_key_of_the_claim_goes_and_a_persons_own_stays(tool: Any, store: FakeGarage) -> None:
    everything(tool)
    store.keys |= {"old": tool.KEY_NAME, "by-hand": "for the backup"}
    tool.arrange(0)
    assert sorted(store.keys) == ["by-hand", "key"]


def test_without_a_quorum_it_has_not_started(tool: Any, store: FakeGarage) -> None:
    everything(tool)
    store.away = {HOSTS[0], HOSTS[2]}
    with pytest.raises(tool.NotYet, match=r"too few|most members"):
        tool.arrange(1)


def test_who_leaves_is_asked_for_until_the_others_have_noticed(tool: Any, store: FakeGarage) -> None:
    """A connection that the other end has closed is noticed when it is written to for the second time."""
    everything(tool)
    gone, asked = "id-of-one:3903", []

    def notice(member: str, body: Any, query: dict[str, str]) -> None:
        asked.append((member, query["node"]))
        if asked.count((member, gone)) == 2:
            store.calls.discard((member, gone))
        raise tool.NotYet("it takes too long")

    store.GetNodeInfo = notice  # type: ignore[method-assign]
    assert tool.main(["leave"]) == 0
    assert asked == [(HOSTS[0], gone)] * 2 + [(HOSTS[2], gone)] * 2


def test_who_leaves_waits_for_nobody_who_is_away(tool: Any, store: FakeGarage) -> None:
    everything(tool)
    store.away = {HOSTS[0], HOSTS[1]}
    store.calls.discard((HOSTS[2], "id-of-one:3903"))
    assert tool.main(["leave"]) == 0


def test_no_key_is_ever_shown(tool: Any, store: FakeGarage, capsys: pytest.CaptureFixture[str]) -> None:
    everything(tool)
    said = capsys.readouterr()
    assert "ImportKey" in said.out
    assert "secret" not in said.out + said.err
