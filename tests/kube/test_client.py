"""The client: patience, credentials, errors; against small servers that answer as they are told."""

import asyncio
import base64
import json
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import WSMsgType, web

from libresh.errors import Conflict, LibreshError, Unavailable
from libresh.kube.auth import Access, FixedToken, TokenFile, find_access, from_kubeconfig, in_cluster, trusting
from libresh.kube.client import Client
from libresh.kube.errors import AlreadyExists, Expired, NotFound, Pending, Refused, Unauthorized, error_from
from libresh.kube.exec import run_in_pod
from libresh.kube.kinds import Kinds
from libresh.kube.transport import encode_query, retry_after

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def server(answer: Answer) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def status(code: int, **more: Any) -> bytes:
    return json.dumps({"kind": "Status", "code": code, **more}).encode()


ERRORS = [
    (404, {}, NotFound),
    (409, {"reason": "AlreadyExists"}, AlreadyExists),
    (409, {"reason": "Conflict"}, Conflict),
    (410, {}, Expired),
    (401, {}, Unauthorized),
    (403, {}, Refused),
    (403, {"details": {"causes": [{"reason": "NamespaceTerminating", "field": "metadata.namespace"}]}}, Pending),
    (422, {}, Refused),
    (400, {}, Refused),
    (429, {}, Unavailable),
    (500, {}, Unavailable),
    (503, {}, Unavailable),
]


@pytest.mark.parametrize(("code", "more", "kind"), ERRORS)
def test_errors_by_code(code: int, more: dict[str, Any], kind: type[LibreshError]) -> None:
    assert type(error_from(code, status(code, **more), "do it")) is kind


def test_a_refusal_names_fields() -> None:
    causes = [{"field": "spec.serviceName", "message": "immutable"}, {"field": "spec.serviceName"}, {"field": "spec.x"}]
    error = error_from(422, status(422, message="is invalid", details={"causes": causes}), "apply it")
    assert isinstance(error, Refused)
    assert error.fields == ("spec.serviceName", "spec.x")
    assert str(error) == "The API server could not apply it: is invalid"


def test_a_refused_secret_is_not_quoted() -> None:
    body = status(
        422, message='data[k]: Invalid value: "hunter2"', reason="Invalid", details={"causes": [{"field": "data[k]"}]}
    )
    error = error_from(422, body, "apply it", secret=True)
    assert "hunter2" not in str(error)
    assert "data[k]" in str(error)


def test_a_proxys_page_is_an_error_too() -> None:
    assert "Bad Gateway" in str(error_from(502, b"<html>Bad Gateway</html>", "read it"))


async def test_429_is_waited_out() -> None:
    seen: list[float] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(time.monotonic())
        if len(seen) < 3:
            return web.Response(status=429, body=status(429), headers={"Retry-After": "0"})
        return web.json_response({"ok": True})

    async with server(answer) as url, Client(Access(url)) as client:
        assert await client.get("ConfigMap", "a", "b") == {"ok": True}
    assert len(seen) == 3


async def test_429_for_ever_becomes_unavailable() -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=429, body=status(429, message="too many"), headers={"Retry-After": "0"})

    async with server(answer) as url, Client(Access(url)) as client:
        with pytest.raises(Unavailable, match="too many"):
            await client.get("ConfigMap", "a", "b")


@pytest.mark.parametrize(("value", "seconds"), [("3", 3.0), ("9999", 30.0), ("", 1.0), ("Mon, 01 Jan", 1.0)])
def test_retry_after(value: str, seconds: float) -> None:
    assert retry_after(value) == seconds


async def test_a_refused_token_is_read_again_once(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("old\n")
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.headers["Authorization"])
        if asked[-1] != "Bearer new":
            file.write_text("new\n")
            return web.Response(status=401, body=status(401))
        return web.json_response({})

    async with server(answer) as url, Client(Access(url, credentials=TokenFile(file))) as client:
        assert await client.get("ConfigMap", "a", "b") == {}
    assert asked == ["Bearer old", "Bearer new"]


async def test_a_token_that_stays_refused_is_an_error() -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=401, body=status(401))

    async with server(answer) as url, Client(Access(url, credentials=FixedToken("x"))) as client:
        with pytest.raises(Unauthorized):
            await client.get("ConfigMap", "a", "b")


async def test_silence_and_nobody_are_unavailable() -> None:
    async def answer(request: web.Request) -> web.Response:
        await asyncio.sleep(1)
        return web.json_response({})

    async with server(answer) as url, Client(Access(url), timeout=0.2) as client:
        with pytest.raises(Unavailable, match="read ConfigMap b/a"):
            await client.get("ConfigMap", "a", "b")
    async with Client(Access("http://127.0.0.1:1")) as client:
        with pytest.raises(Unavailable, match="is the API server at"):
            await client.get("ConfigMap", "a", "b")


def test_queries_are_quoted() -> None:
    assert encode_query({"labelSelector": "a=b,c in (d)", "empty": ""}) == "?labelSelector=a%3Db%2Cc%20in%20%28d%29"


def test_paths_of_kinds() -> None:
    kinds = Kinds()
    assert kinds["Secret"].path("ns", "a") == "/api/v1/namespaces/ns/secrets/a"
    assert kinds["Namespace"].path("", "a", "status") == "/api/v1/namespaces/a/status"
    assert kinds["Ingress"].path() == "/apis/networking.k8s.io/v1/ingresses"
    with pytest.raises(LibreshError, match="Nonsense"):
        kinds["Nonsense"]


async def test_a_kind_can_be_discovered() -> None:
    async def answer(request: web.Request) -> web.Response:
        assert request.path == "/apis/acid.zalan.do/v1"
        return web.json_response({"resources": [{"name": "postgresqls", "kind": "postgresql", "namespaced": True}]})

    async with server(answer) as url, Client(Access(url)) as client:
        name = await client.discover("acid.zalan.do/v1", "postgresql")
        assert client.kinds[name].path("ns") == "/apis/acid.zalan.do/v1/namespaces/ns/postgresqls"


def test_an_authority_that_newer_pythons_find_wanting_is_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python 3.13 asks for what many a cluster's authority has not: it sets this flag, whatever Python this is."""
    usual = ssl.create_default_context

    def strict(**options: Any) -> ssl.SSLContext:
        context = usual(**options)
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        return context

    monkeypatch.setattr(ssl, "create_default_context", strict)
    context = trusting()
    assert not context.verify_flags & ssl.VERIFY_X509_STRICT
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


async def test_a_proxy_of_the_kubeconfig_is_used() -> None:
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(f"{request.method} {request.raw_path} {request.headers['Host']}")
        return web.json_response({"via": "proxy"})

    async with server(answer) as url, Client(Access("http://cluster.invalid:1", proxy=url)) as client:
        assert await client.get("ConfigMap", "a", "b") == {"via": "proxy"}
        assert await client.patch("ConfigMap", "a", "b", {}) == {"via": "proxy"}
    assert asked[0].endswith("/api/v1/namespaces/b/configmaps/a cluster.invalid:1")


# --- kubeconfig ------------------------------------------------------------------------------------------------


def config(**user: Any) -> dict[str, Any]:
    return {
        "current-context": "one",
        "contexts": [
            {"name": "one", "context": {"cluster": "c", "user": "u", "namespace": "team"}},
            {"name": "two", "context": {"cluster": "d", "user": "u"}},
        ],
        "clusters": [
            {"name": "c", "cluster": {"server": "http://one:1"}},
            {"name": "d", "cluster": {"server": "https://two:2", "insecure-skip-tls-verify": True}},
        ],
        "users": [{"name": "u", "user": user}],
    }


def written(tmp_path: Path, content: Any, name: str = "config") -> Path:
    path = tmp_path / name
    path.write_text(yaml.safe_dump(content))
    return path


async def test_the_current_context_and_another(tmp_path: Path) -> None:
    path = written(tmp_path, config(token="t"))
    access = from_kubeconfig([path])
    assert (access.server, access.namespace, access.ssl) == ("http://one:1", "team", None)
    assert await access.credentials.token() == "t"
    other = from_kubeconfig([path], "two")
    assert (other.server, other.namespace) == ("https://two:2", "default")
    assert other.ssl is not None


def test_what_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, config())
    with pytest.raises(LibreshError, match=r"no context three.*it has: one, two"):
        from_kubeconfig([path], "three")
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "absent"))
    with pytest.raises(LibreshError, match="no kubeconfig at"):
        find_access()


def test_several_files_are_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = written(tmp_path, {"current-context": "two"}, "first")
    second = written(tmp_path, config(token="t"), "second")
    monkeypatch.setenv("KUBECONFIG", f"{first}:{second}")
    assert find_access().server == "https://two:2"


async def test_a_plugin_gives_the_token_until_it_expires(tmp_path: Path) -> None:
    script = tmp_path / "plugin"
    runs = tmp_path / "runs"
    script.write_text(
        f"#!/bin/sh\necho run >> {runs}\n"
        'test -n "$KUBERNETES_EXEC_INFO" || exit 3\n'
        'token=\\"token\\":\\"$GREETING\\" expiry=\\"expirationTimestamp\\":\\"2200-01-01T00:00:00Z\\"\n'
        'echo "{\\"kind\\":\\"ExecCredential\\",\\"status\\":{$token,$expiry}}"\n'
    )
    script.chmod(0o755)
    plugin = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": "./plugin",
        "env": [{"name": "GREETING", "value": "hi"}],
    }
    path = written(tmp_path, config(exec=plugin))
    access = from_kubeconfig([path])
    assert await access.credentials.token() == "hi"
    assert await access.credentials.token() == "hi"
    assert runs.read_text().count("run") == 1
    assert await access.credentials.token(renew=True) == "hi"
    assert runs.read_text().count("run") == 2


async def test_a_failing_plugin_is_named(tmp_path: Path) -> None:
    path = written(tmp_path, config(exec={"command": "/bin/false", "installHint": "install it"}))
    with pytest.raises(LibreshError, match=r"/bin/false ended with 1 \(install it\)"):
        await from_kubeconfig([path]).credentials.token()


async def test_in_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from support.apiserver import Authority

    ca = Authority(tmp_path).file
    assert ca.name == "ca.crt"
    (tmp_path / "token").write_text("abc")
    (tmp_path / "namespace").write_text("home\n")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "fd00::1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    access = in_cluster(tmp_path)
    assert (access.server, access.namespace) == ("https://[fd00::1]:443", "home")
    assert await access.credentials.token() == "abc"


@pytest.mark.apiserver
async def test_certificates_inline_and_by_file(real_api: Any, tmp_path: Path) -> None:
    path = real_api.kubeconfig()
    content = yaml.safe_load(path.read_text())
    cluster, user = content["clusters"][0]["cluster"], content["users"][0]["user"]
    cluster["certificate-authority-data"] = inlined(cluster.pop("certificate-authority"))
    user["client-certificate-data"] = inlined(user.pop("client-certificate"))
    user["client-key-data"] = inlined(user.pop("client-key"))
    for each in (path, written(tmp_path, content)):
        async with Client(from_kubeconfig([each])) as client:
            assert "gitVersion" in await client.version()
            name = await client.discover("apps/v1", "Deployment")
            assert name == "Deployment"


def inlined(path: str) -> str:
    return base64.b64encode(Path(path).read_bytes()).decode()


# --- exec ------------------------------------------------------------------------------------------------------


def shell(protocol: str, end: dict[str, Any]) -> tuple[Answer, list[Any]]:
    """A stub of a kubelet: says hello, repeats its input, ends as told."""
    seen: list[Any] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        seen.append((request.path, request.query.getall("command"), dict(request.query)))
        socket = web.WebSocketResponse(protocols=[protocol])
        await socket.prepare(request)
        await socket.send_bytes(b"\x01hello ")
        await socket.send_bytes(b"\x02careful")
        if request.query.get("stdin"):
            async for message in socket:
                assert message.type is WSMsgType.BINARY
                if message.data == b"\xff\x00":
                    break
                await socket.send_bytes(b"\x01" + message.data[1:])
        await socket.send_bytes(b"\x03" + json.dumps(end).encode())
        await socket.close()
        return socket

    return answer, seen


async def test_exec_passes_input_and_output() -> None:
    answer, seen = shell("v5.channel.k8s.io", {"status": "Success"})
    out, err = bytearray(), bytearray()
    async with server(answer) as url, Client(Access(url)) as client:
        argv = ["tr", "a b", "&"]
        code = await run_in_pod(client, "p", "ns", argv, stdin=b"input", stdout=out.extend, stderr=err.extend)
    assert (code, bytes(out), bytes(err)) == (0, b"hello input", b"careful")
    assert seen[0][:2] == ("/api/v1/namespaces/ns/pods/p/exec", argv)


async def test_exec_tells_the_exit_code() -> None:
    causes = [{"reason": "ExitCode", "message": "42"}]
    answer, _ = shell(
        "v4.channel.k8s.io", {"status": "Failure", "reason": "NonZeroExitCode", "details": {"causes": causes}}
    )
    async with server(answer) as url, Client(Access(url)) as client:
        assert await run_in_pod(client, "p", "ns", ["false"]) == 42


async def test_exec_that_cannot_start_is_an_error() -> None:
    answer, _ = shell("v5.channel.k8s.io", {"status": "Failure", "message": "no such file"})
    async with server(answer) as url, Client(Access(url)) as client:
        with pytest.raises(LibreshError, match="Cannot run nothing in Pod ns/p: no such file"):
            await run_in_pod(client, "p", "ns", ["nothing"])


@pytest.mark.parametrize("name", ["..", ".", "a/b", "a b", "a\r\nX: y", "a?x", "a%2fb", "é"])
def test_a_name_cannot_lead_somewhere_else(name: str) -> None:
    with pytest.raises(LibreshError, match="cannot be the name"):
        Kinds()["Secret"].path("ns", name)
    with pytest.raises(LibreshError, match="cannot be the name"):
        Kinds()["Secret"].path(name, "a")


async def test_requests_stand_in_line_and_the_lease_goes_past_it() -> None:
    under_way: list[str] = []
    most = 0

    async def answer(request: web.Request) -> web.StreamResponse:
        nonlocal most
        under_way.append(request.path)
        most = max(most, sum("configmaps" in path for path in under_way))
        await asyncio.sleep(0.3)
        under_way.remove(request.path)
        return web.json_response({"metadata": {"name": "x", "namespace": "ns", "resourceVersion": "1"}})

    async with server(answer) as url, Client(Access(url), in_flight=2, timeout=1.2) as client:
        line = [asyncio.create_task(client.read("ConfigMap", f"c{number}", "ns")) for number in range(12)]
        await asyncio.sleep(0.01)
        begun = time.monotonic()
        await client.read("Lease", "libresh-operator", "ns")
        assert time.monotonic() - begun < 1.2
        assert not all(task.done() for task in line)
        # Twelve in pairs take twice as long as one may: standing in line does not count.
        assert all(await asyncio.gather(*line))
        assert most == 2
