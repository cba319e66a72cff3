"""What the building machine knows and an image must not: mirrors, proxies, certificates, package managers' settings.

All of it reaches the build through a tmpfs on /run/build and is gone with it.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path

from libresh.errors import LibreshError

BUILD = "/run/build"
"""Where a build sees these things; a tmpfs, so that no layer can contain them."""

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"

PASSED_ENV = re.compile(
    r"^((https?|ftp|all|no)_proxy|PIP_.*|NPM_CONFIG_.*|SSL_CERT_FILE|SSL_CERT_DIR|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE"
    r"|NODE_EXTRA_CA_CERTS|GIT_SSL_CAINFO)$",
    re.IGNORECASE,
)
NPM_SETTINGS = re.compile(r"^(?!.*(prefix|cache|nodedir)\s*=)")


@dataclass(frozen=True)
class Settings:
    """Files to write under /run/build and paths of this machine to show there, read-only."""

    env: dict[str, str]
    files: dict[str, str]
    binds: dict[str, str]


def observe_settings(suite: str) -> Settings:
    """Read the machine's own client configuration, with its paths replaced by those inside a build."""
    binds: dict[str, str] = {}
    env = {name: _translated(value, binds) for name, value in sorted(os.environ.items()) if PASSED_ENV.match(name)}
    files = {
        "pip.conf": _translated(_pip_settings(), binds),
        "npmrc": _translated(_npm_settings(), binds),
        "apt.conf": _apt_settings(binds),
        "sources.list": "\n".join(debian_sources(suite)) + "\n",
    }
    env |= {
        "PIP_CONFIG_FILE": f"{BUILD}/pip.conf",
        "PIP_CACHE_DIR": f"{BUILD}/cache/pip",
        "NPM_CONFIG_USERCONFIG": f"{BUILD}/npmrc",
        "NPM_CONFIG_CACHE": f"{BUILD}/cache/npm",
        "APT_CONFIG": f"{BUILD}/apt.conf",
        "HOME": f"{BUILD}/home",
    }
    return Settings(env, files, binds)


def debian_sources(suite: str) -> list[str]:
    """One-line sources for `suite`, from the mirrors that the machine itself uses."""
    found = {uri.rstrip("/").rpartition("/")[2]: uri for uri in reversed(_configured_mirrors())}
    if missing := sorted({"debian", "debian-security"} - found.keys()):
        raise LibreshError(
            "no-debian-mirror",
            f"The machine's package sources name no mirror of {' and '.join(missing)}, of which images are made",
            "add Debian's own lines for both to /etc/apt/sources.list.d",
        )
    mirror, security = found["debian"], found["debian-security"]
    return [
        f"deb [signed-by={KEYRING}] {mirror} {suite} main",
        f"deb [signed-by={KEYRING}] {mirror} {suite}-updates main",
        f"deb [signed-by={KEYRING}] {security} {suite}-security main",
    ]


def apt_acquire_options() -> str:
    """The machine's proxies and transport settings for apt, as configuration lines."""
    shown = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=False)
    wanted = re.compile(r"^Acquire::(https?::(Proxy|CaInfo|CaPath|Verify|User-Agent)|Check-|Retries)", re.IGNORECASE)
    lines = [line for line in shown.stdout.splitlines() if wanted.match(line)]
    return "".join(line + "\n" for line in lines)


def _configured_mirrors() -> list[str]:
    folder = Path("/etc/apt")
    paths = [folder / "sources.list", *sorted(folder.glob("sources.list.d/*"))]
    text = "\n".join(path.read_text() for path in paths if path.suffix in (".list", ".sources") and path.is_file())
    found = re.findall(r"^\s*(?:URIs:|deb\s+(?:\[[^]]*\]\s+)?)\s*(\S+)", text, re.MULTILINE)
    return [uri for uri in found if uri.startswith(("http://", "https://"))]


def _apt_settings(binds: dict[str, str]) -> str:
    return _translated(apt_acquire_options(), binds) + (
        f'Dir::Etc::sourcelist "{BUILD}/sources.list";\n'
        'Dir::Etc::sourceparts "-";\n'
        f'Dir::State::lists "{BUILD}/cache/apt-lists";\n'
        f'Dir::Cache "{BUILD}/cache/apt";\n'
        f'Dir::Log "{BUILD}/home";\n'
        'Dir::Cache::pkgcache "";\nDir::Cache::srcpkgcache "";\n'
        'APT::Sandbox::User "root";\nAPT::Install-Recommends "false";\nAcquire::Languages "none";\n'
        'APT::Keep-Downloaded-Packages "true";\nDPkg::Use-Pty "false";\n'
    )


def _pip_settings() -> str:
    """The merged files of pip, in one; options from the environment travel as environment."""
    shown = subprocess.run(["pip", "config", "list"], capture_output=True, text=True, check=False)
    sections: dict[str, list[str]] = {}
    for line in shown.stdout.splitlines():
        match = re.match(r"^([\w-]+)\.([\w-]+)='(.*)'$", line)
        if match and not line.startswith(":env:"):
            sections.setdefault(match[1], []).append(f"{match[2]} = {match[3]}")
    return "".join(f"[{name}]\n" + "\n".join(lines) + "\n" for name, lines in sections.items())


def _npm_settings() -> str:
    path = Path(os.environ.get("NPM_CONFIG_USERCONFIG", Path.home() / ".npmrc"))
    if not path.is_file():
        return ""
    return "".join(line + "\n" for line in path.read_text().splitlines() if NPM_SETTINGS.match(line))


def _translated(text: str, binds: dict[str, str]) -> str:
    """Replace absolute paths that exist here by the place where the build will see them."""

    def replaced(match: re.Match[str]) -> str:
        path = match[1].rstrip(".,:")
        if not os.path.exists(path) or path == "/":
            return match[0]
        inside = f"{BUILD}/host{path}"
        binds[path] = inside
        return match[0].replace(path, inside, 1)

    return re.sub(r"(?<![\w:/.-])(/[\w.@+/-]+)", replaced, text)


def env_script(env: dict[str, str]) -> str:
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in env.items())
