"""How an errand gives a secret back, on a real API server: the operator gives the right, the pod has no other."""

import base64
import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from laws import samples
from libresh.catalog.settings import Settings
from libresh.cli import install
from libresh.cli.access import Target, connect
from libresh.cli.manifests import Installation, operator
from libresh.drivers import drivers
from libresh.drivers.errands import Errand, base_name
from libresh.drivers.model import Ask
from libresh.kube.auth import Access, FixedToken
from libresh.kube.client import Client
from libresh.plan.actions import Apply, Object, Ref
from support.apiserver import RealApi

pytestmark = pytest.mark.apiserver

SYSTEM, TEAM = "libresh-system", "team"
GIVEN = Ref("Secret", "sample-s3-credentials", TEAM)
OTHER = Ref("Secret", "other", TEAM)
PROGRAM = Path(__file__).resolve().parents[2] / "build" / "images" / "errand"


@pytest.fixture(scope="module")
def server() -> Iterator[RealApi]:
    with RealApi() as found:
        yield found


@pytest.fixture(scope="module")
def program() -> Iterator[tuple[ModuleType, ModuleType]]:
    """The modules of the errand's image: they need nothing but Python."""
    sys.path.insert(0, str(PROGRAM))
    yield importlib.import_module("libresh_errand.giving"), importlib.import_module("libresh_errand.errand")
    sys.path.remove(str(PROGRAM))


def secret(ref: Ref) -> Object:
    metadata = {"name": ref.name, "namespace": ref.namespace}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata}


def errand() -> Errand:
    """An errand that gives a secret back."""
    driver = drivers()["Bucket", "embedded"]
    ask = Ask(samples.sample_claim(driver), "sample-class", driver.parameters(), True, samples.SETTINGS)
    return Errand(ask, "any", "provide", "server.example.org", 443, {}, {}, gives=GIVEN)


def client_of(server: RealApi, namespace: str, account: str) -> Client:
    token = server.kubectl("create", "token", account, "-n", namespace).strip()
    return Client(Access(server.url, server.context(), FixedToken(token)))


async def apply(client: Client, *objects: Object) -> None:
    for obj in objects:
        meta, kind = obj["metadata"], client.kinds.name_of(obj["apiVersion"], obj["kind"])
        await client.apply_raw(kind, meta["name"], meta["namespace"], json.dumps(obj).encode())


def data_of(server: RealApi, ref: Ref) -> dict[str, str]:
    found = json.loads(server.kubectl("get", "secret", ref.name, "-n", ref.namespace, "-o", "json"))
    return {key: base64.b64decode(value).decode() for key, value in found.get("data", {}).items()}


async def test_the_operator_gives_the_right_and_the_pod_may_change_one_secret_alone(
    server: RealApi,
    program: tuple[ModuleType, ModuleType],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    giving, common = program
    installation = Installation(settings=Settings(system_namespace=SYSTEM))
    async with connect(Target(kubeconfig=str(server.kubeconfig()))) as client:
        await install.perform(client, installation, classes=False, wait=False, say=lambda _: None)
    server.kubectl("create", "namespace", TEAM)
    made = [action.object for action in errand().plan(errand().build_job()) if isinstance(action, Apply)]
    async with client_of(server, SYSTEM, operator.NAME) as client:
        await apply(client, secret(GIVEN), secret(OTHER), *made)
    assert [obj["kind"] for obj in made] == ["NetworkPolicy", "ServiceAccount", "Role", "RoleBinding", "Job"]

    account = base_name(errand().claim)
    (tmp_path / "token").write_text(server.kubectl("create", "token", account, "-n", SYSTEM))
    (tmp_path / "ca.crt").write_text(server.ca.read_text())
    monkeypatch.setattr(giving, "ACCOUNT", tmp_path)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(server.port))
    told: Any = common.Errand({"host": "server.example.org", "port": 443}, tmp_path / "none")

    monkeypatch.setenv("LIBRESH_GIVES", f"{GIVEN.namespace}/{GIVEN.name}")
    giving.give(told, {"first.key": "chosen", "first.name": "by the server"})
    assert data_of(server, GIVEN) == {"first.key": "chosen", "first.name": "by the server"}
    giving.give(told, {"second.key": "chosen again"})
    async with client_of(server, SYSTEM, operator.NAME) as client:
        await apply(client, {**secret(GIVEN), "type": "Opaque"})
    assert data_of(server, GIVEN) == {"second.key": "chosen again"}
    assert told.without_secrets("no chosen again here") == "no *** here"

    for name in (OTHER.name, "absent"):
        monkeypatch.setenv("LIBRESH_GIVES", f"{TEAM}/{name}")
        with pytest.raises(common.Trouble, match="does not take the credentials: HTTP status 403"):
            giving.give(told, {"first.key": "chosen"})
    async with client_of(server, SYSTEM, account) as client:
        for ref in (GIVEN, OTHER, Ref("Secret", "admin", SYSTEM)):
            with pytest.raises(Exception, match="cannot get resource"):
                await client.read("Secret", ref.name, ref.namespace)

    server.kubectl("delete", "secret", GIVEN.name, "-n", TEAM)
    monkeypatch.setenv("LIBRESH_GIVES", f"{GIVEN.namespace}/{GIVEN.name}")
    with pytest.raises(common.Trouble, match="does not take the credentials"):
        giving.give(told, {"first.key": "chosen"})
