"""`libresh status`, `class`, `logs` and `exec` against the fake API server."""

import json
import subprocess
from typing import Any

import pytest
from invoking import Invoke

from libresh.cli import commands
from support.fakeapi import Server


def make_matrix(api: Any, name: str = "chat", namespace: str = "acme") -> None:
    api.create(
        {
            "apiVersion": "apps.libre.sh/v1alpha1",
            "kind": "Matrix",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"host": f"{name}.example.org"},
        }
    )


def make_pod(api: Any, component: str, *, ready: bool = True, namespace: str = "acme") -> None:
    labels = {"libre.sh/owner": "Matrix.chat", "app.kubernetes.io/component": component}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"chat-{component}-1", "namespace": namespace, "labels": labels},
        "spec": {"containers": [{"name": component, "image": "x"}]},
    }
    api.create(pod)
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    api.edit("Pod", f"chat-{component}-1", namespace, status={"conditions": conditions})


async def test_status_as_json(invoke: Invoke, fake_api: Server) -> None:
    make_matrix(fake_api.api)
    result = await invoke("status", "-o", "json")
    assert result.exit_code == 0
    told = json.loads(result.stdout)
    assert told["apps"][0]["name"] == "chat"
    assert told["apps"][0]["state"] == "unseen"
    assert told["problems"][0]["do"] == "libresh install"


async def test_status_of_one_namespace(invoke: Invoke, fake_api: Server) -> None:
    make_matrix(fake_api.api)
    make_matrix(fake_api.api, namespace="other")
    result = await invoke("status", "-n", "other", "-o", "json")
    assert [app["namespace"] for app in json.loads(result.stdout)["apps"]] == ["other"]


async def test_status_reads_only(invoke: Invoke, fake_api: Server) -> None:
    before = len(fake_api.api.journal)
    await invoke("status")
    assert len(fake_api.api.journal) == before


async def test_an_unreachable_cluster_is_named(invoke: Invoke, fake_api: Server, capsys: Any) -> None:
    await fake_api.close()
    result = await invoke("status")
    assert result.exit_code == 3
    assert fake_api.url in str(result.exception)


async def test_class_list(invoke: Invoke, fake_api: Server) -> None:
    spec = {"claimKind": "Redis", "driver": "embedded"}
    metadata = {"name": "r", "annotations": {"services.libre.sh/is-default-class": "true"}}
    api_version = "services.libre.sh/v1alpha1"
    fake_api.api.create({"apiVersion": api_version, "kind": "ServiceClass", "metadata": metadata, "spec": spec})
    told = json.loads((await invoke("class", "list", "-o", "json")).stdout)
    assert told[0]["name"] == "r"
    assert told[0]["default"] is True


async def test_commands_are_listed_as_the_package_declares_them(invoke: Invoke) -> None:
    result = await invoke("exec", "matrix/chat")
    assert "register-user [--admin] NAME" in result.stdout


async def test_an_unknown_command_names_those_that_exist(invoke: Invoke) -> None:
    result = await invoke("exec", "matrix/chat", "explode")
    assert result.exit_code == 1
    assert "register-user" in str(result.exception)


async def test_an_unknown_kind_names_those_that_exist(invoke: Invoke) -> None:
    result = await invoke("exec", "matrixx/chat", "x")
    assert "one of: matrix" in str(result.exception)


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[str], bytes]]:
    """What would have been run, with its standard input."""
    calls: list[tuple[list[str], bytes]] = []

    def run(command: list[str], *, input: bytes, **_: Any) -> subprocess.CompletedProcess[bytes]:
        calls.append((command, input))
        return subprocess.CompletedProcess(command, 0, b"", b"")

    monkeypatch.setattr(commands.subprocess, "run", run)
    monkeypatch.setattr(commands.kubectl, "find_kubectl", lambda: "kubectl")
    return calls


async def test_a_password_is_made_shown_once_and_never_an_argument(
    invoke: Invoke, fake_api: Server, ran: list[tuple[list[str], bytes]]
) -> None:
    make_matrix(fake_api.api)
    make_pod(fake_api.api, "synapse")
    result = await invoke("exec", "matrix/chat", "register-user", "--admin", "alice")
    assert result.exit_code == 0, result.output
    command, stdin = ran[0]
    password = stdin.decode().strip()
    assert len(password) >= 20
    assert password not in " ".join(command)
    assert result.stdout.count(password) == 1
    assert "-n acme exec -i chat-synapse-1 -c synapse --" in " ".join(command)
    assert "--admin" in command


async def test_a_password_from_standard_input_is_not_shown(
    invoke: Invoke, fake_api: Server, ran: list[tuple[list[str], bytes]]
) -> None:
    make_matrix(fake_api.api)
    make_pod(fake_api.api, "synapse")
    result = await invoke("exec", "matrix/chat", "register-user", "bob", "--secret-stdin", stdin="s3cret\n")
    assert result.exit_code == 0, result.output
    assert ran[0][1].decode().strip() == "s3cret"
    assert "s3cret" not in result.output


async def test_a_component_that_is_not_ready_says_where_to_look(invoke: Invoke, fake_api: Server) -> None:
    make_matrix(fake_api.api)
    make_pod(fake_api.api, "synapse", ready=False)
    result = await invoke("exec", "matrix/chat", "list-users")
    assert "libresh logs matrix/chat synapse -n acme" in str(result.exception)


async def test_a_name_in_two_namespaces_is_not_guessed(invoke: Invoke, fake_api: Server) -> None:
    make_matrix(fake_api.api)
    make_matrix(fake_api.api, namespace="other")
    result = await invoke("exec", "matrix/chat", "list-users")
    assert "acme, other" in str(result.exception)
    assert "-n" in str(result.exception)


async def test_logs_name_the_components_there_are(invoke: Invoke, fake_api: Server) -> None:
    make_matrix(fake_api.api)
    make_pod(fake_api.api, "synapse")
    result = await invoke("logs", "matrix/chat", "nginx")
    assert "one of: synapse" in str(result.exception)


async def test_logs_of_what_is_not_there(invoke: Invoke) -> None:
    result = await invoke("logs", "matrix/nothing")
    assert "There is no Matrix nothing" in str(result.exception)
