"""The command line against the fake API server: commands run in a thread, as the server lives in the test's loop."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from libresh.cli.main import libresh, report
from libresh.errors import LibreshError
from support.fakeapi import Server

Invoke = Callable[..., Awaitable[Result]]


def write_kubeconfig(path: Path, server: Server) -> Path:
    """A kubeconfig that leads to the fake."""
    config = {
        "current-context": "fake",
        "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "fake"}}],
        "clusters": [{"name": "fake", "cluster": {"server": server.url}}],
        "users": [{"name": "fake", "user": {}}],
    }
    path.write_text(json.dumps(config))
    return path


def build_invoke(monkeypatch: pytest.MonkeyPatch) -> Invoke:
    """Runs a command line as a person would: errors become messages and codes."""

    async def run(*arguments: str, stdin: str = "") -> Result:
        monkeypatch.setattr("sys.argv", ["libresh", *arguments])
        result = await asyncio.to_thread(CliRunner().invoke, libresh, arguments, input=stdin)
        if isinstance(result.exception, LibreshError):
            result.exit_code = report(result.exception)
        elif result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run
