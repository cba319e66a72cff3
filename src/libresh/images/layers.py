"""Making one layer: the changes that a recipe's step makes to what lies below it, as a folder and as a blob."""

from __future__ import annotations

import datetime
import hashlib
import os
import shlex
import shutil
import stat
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from libresh.errors import LibreshError
from libresh.images import host, keys, sandbox
from libresh.images.recipes import CargoBinary, Copy, Debian, GoBinary, Layer
from libresh.images.store import Store, publish

MEDIA_TYPE = "application/vnd.oci.image.layer.v1.tar+zstd"
APT_INSTALL = "apt-get install -y -q --no-install-recommends"
EXCLUDED = (
    "path-exclude=/usr/share/doc/*",
    "path-include=/usr/share/doc/*/copyright",
    "path-exclude=/usr/share/man/*",
    "path-exclude=/usr/share/info/*",
    "path-exclude=/usr/share/lintian/*",
    "path-exclude=/usr/share/locale/*",
)
UNSTABLE = (
    "var/cache/ldconfig/aux-cache",
    "var/log",
    "var/lib/apt/lists",
    "var/cache/apt",
    "var/cache/debconf",
    "var/lib/dpkg/status-old",
    "var/lib/dpkg/diversions-old",
    "var/lib/dpkg/statoverride-old",
    "etc/.pwd.lock",
    "var/lib/systemd",
    "var/lib/dpkg/lock",
    "var/lib/dpkg/lock-frontend",
    "var/lib/dpkg/triggers/Lock",
    "etc/machine-id",
    "var/lib/dbus/machine-id",
    "etc/passwd-",
    "etc/group-",
    "etc/shadow-",
    "etc/gshadow-",
    "etc/subuid-",
    "etc/subgid-",
    "root/.cache",
)
"""Logs, caches and locks: no use in an image, and never the same twice."""


@dataclass(frozen=True)
class BuiltLayer:
    key: str
    folder: Path
    digest: str
    diff_id: str
    size: int

    @property
    def tree(self) -> Path:
        return self.folder / "tree"

    @property
    def blob(self) -> Path:
        return self.folder / "layer.tar.zst"


def source_date(debian: Debian) -> int:
    """The time that everything newer is clamped to."""
    day = datetime.date.fromisoformat(debian.refreshed)
    return int(datetime.datetime(day.year, day.month, day.day, tzinfo=datetime.UTC).timestamp())


def bootstrap(store: Store, debian: Debian, tree: Path, log: Path) -> None:
    """Install a minimal Debian into `tree`. It names no mirror: what runs from it installs nothing."""
    with store.workspace() as work:
        (work / "sources").write_text("\n".join(host.debian_sources(debian.suite)) + "\n")
        (work / "apt.conf").write_text(host.apt_acquire_options())
        command = [
            *sandbox.ISOLATION,
            "mmdebstrap",
            "--mode=root",
            "--variant=minbase",
            f"--architectures={keys.architecture()}",
            f"--aptopt={work / 'apt.conf'}",
            *(f"--dpkgopt={option}" for option in EXCLUDED),
            debian.suite,
            str(tree),
            str(work / "sources"),
        ]
        env = os.environ | {"SOURCE_DATE_EPOCH": str(source_date(debian)), "TMPDIR": str(work)}
        with open(log, "ab") as output:
            code = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=env).returncode
    if code != 0:
        raise _failure("Debian's bootstrap", log)
    (tree / "etc/apt/apt.conf.d/99mmdebstrap").unlink(missing_ok=True)
    (tree / "etc/apt/sources.list").unlink(missing_ok=True)
    for name in sandbox.HOST_NAMES:
        (tree / name[1:]).write_text("")
        (tree / name[1:]).chmod(0o644)
    (tree / "etc/hostname").write_text("libresh\n")
    shutil.rmtree(tree / "dev")
    (tree / "dev").mkdir()


def apply(
    store: Store, layer: Layer, below: list[BuiltLayer], stage: list[BuiltLayer], log: Path, out: Path, debian: Debian
) -> None:
    """Carry out a recipe's layer over the layers `below`; `out` receives what it changes."""
    settings = host.observe_settings(debian.suite)
    settings.env["SOURCE_DATE_EPOCH"] = str(source_date(debian))
    if layer.stage:
        _run_stage(store, layer, stage, settings, log, out)
    programs = [_prepared_go(store, binary) for binary in layer.go]
    programs += [_prepared_cargo(store, binary) for binary in layer.cargo]
    files = [*programs, *layer.copy]
    if not layer.stage and not any((item.tree / "usr/bin/sh").exists() for item in below):
        # An image from nothing has no shell to run anything with, nor links that a copy could go astray on.
        for item in files:
            _copy_filtered(item, out / item.to[1:], source_date(debian))
        return
    commands = _commands(layer, files)
    if commands:
        with store.workspace() as work:
            binds = _offered(files, work, source_date(debian))
            tree = sandbox.Tree([item.tree for item in below], out, binds, _caches(store))
            if sandbox.build(tree, commands, settings, work, log) != 0:
                raise _failure("A build step", log)


def _commands(layer: Layer, files: list[Copy]) -> list[str]:
    commands = []
    if layer.apt:
        commands += ["apt-get update -q", f"{APT_INSTALL} {' '.join(map(shlex.quote, layer.apt))}"]
    for number, item in enumerate(files):
        to = shlex.quote(item.to)
        commands.append(f'mkdir -p "$(dirname {to})"; cp -R -p -T {host.BUILD}/copy/{number} {to}')
    for directory in layer.directories:
        path = shlex.quote(directory.path)
        commands.append(f"install -d -m {directory.mode:04o} -o {directory.owner} -g {directory.owner} {path}")
    return [*commands, *layer.run]


def _run_stage(
    store: Store, layer: Layer, lower: list[BuiltLayer], settings: host.Settings, log: Path, out: Path
) -> None:
    stage = layer.stage
    if stage is None:
        return
    with store.workspace() as work:
        upper = work / "upper"
        upper.mkdir()
        binds = _offered(list(stage.inputs), work, 0)
        copies = [
            f'mkdir -p "$(dirname {item.to})"; cp -R -p -T {host.BUILD}/copy/{number} {item.to}'
            for number, item in enumerate(stage.inputs)
        ]
        tree = sandbox.Tree([item.tree for item in lower], upper, binds, _caches(store))
        if sandbox.build(tree, [*copies, *stage.run], settings, work, log) != 0:
            raise _failure("A build stage", log)
        for path in stage.export:
            target = out / path[1:]
            target.parent.mkdir(parents=True, exist_ok=True)
            os.rename(upper / path[1:], target)


def _caches(store: Store) -> dict[str, str]:
    return {str(store.shared(name)): f"{host.BUILD}/cache/{name}" for name in ("pip", "npm", "apt-lists", "apt")}


def _offered(files: list[Copy], work: Path, date: int) -> dict[str, str]:
    """Copies of the files as the recipe wants them, to be shown under /run/build/copy."""
    binds = {}
    for number, item in enumerate(files):
        prepared = work / "copy" / str(number)
        _copy_filtered(item, prepared, date)
        binds[str(prepared)] = f"{host.BUILD}/copy/{number}"
    return binds


def _copy_filtered(item: Copy, target: Path, date: int) -> None:
    for source in keys.files_below(item.source):
        path = target / source.relative_to(item.source) if item.source.is_dir() else target
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, path, follow_symlinks=False)
        executable = source.stat().st_mode & stat.S_IXUSR
        if not path.is_symlink():
            path.chmod(item.mode if item.mode is not None else 0o755 if executable else 0o644)
        os.utime(path, (date, date), follow_symlinks=False)


def _prepared_go(store: Store, binary: GoBinary) -> Copy:
    """The compiled program, from the cache or compiled now."""
    target = store.go_binary(keys.go_key(binary))
    with store.locked(f"go-{target.name}"):
        if not target.exists():
            _compile(store, binary, target)
    return Copy(target, binary.to, 0o755)


def _compile(store: Store, binary: GoBinary, target: Path) -> None:
    log = store.log(f"go-{target.name}")
    with store.workspace() as work, open(log, "wb") as output:
        command = [_go(), "build", "-trimpath", "-ldflags", "-s -w", "-o", str(work / "binary"), binary.package]
        env = os.environ | {"CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly"}
        code = subprocess.run(command, cwd=binary.module, env=env, stdout=output, stderr=output).returncode
        if code != 0:
            raise _failure(f"Compiling {binary.package}", log)
        publish(work / "binary", target)


def _go() -> str:
    found = shutil.which("go") or shutil.which("/usr/local/go/bin/go")
    if found is None:
        raise LibreshError("go-missing", "There is no go command to compile an image's programs with", "install Go")
    return found


RUST_PACKAGES = "cargo, gcc and make: Debian 12 has cargo-web, rustup.rs a new cargo for others"
QUICK = {"LTO": "off", "CODEGEN_UNITS": "16", "OPT_LEVEL": "2", "STRIP": "symbols"}
"""Settings of Rust's release profile: half the time to compile, for programs that wait for disks and networks."""


def _prepared_cargo(store: Store, binary: CargoBinary) -> Copy:
    """The compiled program, from the cache or compiled now."""
    target = store.cargo_binary(keys.cargo_key(binary))
    with store.locked(f"cargo-{target.name}"):
        done = store.shared(f"cargo-{target.name}")
        if not target.exists():
            _compile_crate(binary, target, done, store)
        shutil.rmtree(done)
    return Copy(target, binary.to, 0o755)


def _compile_crate(binary: CargoBinary, target: Path, done: Path, store: Store) -> None:
    """Minutes long: what a build that was ended had compiled stays in `done` until there is a program."""
    log = store.log(f"cargo-{target.name}")
    with store.workspace() as work, open(log, "wb") as output:
        crate = [binary.crate, f"--version=={binary.version}", "--locked"]
        features = ["--no-default-features", f"--features={','.join(binary.features)}"]
        command = [_cargo(), "install", *crate, *features, f"--root={work}", "--no-track"]
        home = os.environ.get("CARGO_HOME", str(Path.home() / ".cargo"))
        places = {home: "/cargo", str(done): "/build"}
        env = os.environ | {f"CARGO_PROFILE_RELEASE_{name}": value for name, value in QUICK.items()}
        env |= {
            "CARGO_TARGET_DIR": str(done),
            "RUSTFLAGS": " ".join(f"--remap-path-prefix={here}={there}" for here, there in places.items()),
        }
        code = subprocess.run(command, cwd=work, env=env, stdout=output, stderr=output).returncode
        if code != 0:
            raise _failure(f"Compiling the crate {binary.crate} {binary.version}", log)
        publish(work / "bin" / Path(binary.to).name, target)


def _cargo() -> str:
    found = shutil.which("cargo") or shutil.which(str(Path.home() / ".cargo/bin/cargo"))
    missing = [tool for tool in ("gcc", "make") if shutil.which(tool) is None]
    if found is None or missing:
        lacking = missing if found else ["cargo", *missing]
        raise LibreshError(
            "rust-missing", f"Compiling a Rust program needs {', '.join(lacking)}", f"install {RUST_PACKAGES}"
        )
    return found


def pack(key: str, draft: Path, date: int) -> BuiltLayer:
    """Turn draft/tree into a blob beside it. The same tree gives the same bytes."""
    tree, blob = draft / "tree", draft / "layer.tar.zst"
    _settle(tree)
    plain = hashlib.sha256()
    command = ["zstd", "-q", "-9", "-T2", "-o", str(blob)]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as packer:
        assert packer.stdin is not None
        with packer.stdin as sink:
            _write_tar(tree, _Hashed(sink, plain), date)
    if packer.returncode != 0:
        raise LibreshError("image-build-failed", f"zstd failed with {packer.returncode} for layer {key}")
    with open(blob, "rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    return BuiltLayer(key, draft, f"sha256:{digest}", f"sha256:{plain.hexdigest()}", blob.stat().st_size)


def _settle(tree: Path) -> None:
    """Remove what has no place in an image, and every privilege that a file would grant."""
    for name in UNSTABLE:
        path = tree / name
        if path.is_dir() and not path.is_symlink():
            for entry in path.iterdir():
                shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
        elif path.is_symlink() or path.is_file():
            path.unlink()
    for folder, _, names in os.walk(tree):
        for name in names:
            path = Path(folder) / name
            found = path.lstat()
            if stat.S_ISREG(found.st_mode) and found.st_mode & (stat.S_ISUID | stat.S_ISGID):
                path.chmod(stat.S_IMODE(found.st_mode) & ~(stat.S_ISUID | stat.S_ISGID))


def _write_tar(tree: Path, sink: _Hashed, date: int) -> None:
    inodes: dict[int, str] = {}
    with tarfile.open(fileobj=sink, mode="w|", format=tarfile.PAX_FORMAT) as archive:  # type: ignore[call-overload]
        for path in _sorted_below(tree):
            for member in _members(path, path.relative_to(tree).as_posix(), inodes, date):
                if member.size:
                    with open(path, "rb") as content:
                        archive.addfile(member, content)
                else:
                    archive.addfile(member)


def _sorted_below(folder: Path) -> list[Path]:
    found: list[Path] = []
    for path in sorted(folder.iterdir(), key=lambda entry: entry.name):
        found.append(path)
        if path.is_dir() and not path.is_symlink():
            found += _sorted_below(path)
    return found


def _members(path: Path, name: str, inodes: dict[int, str], date: int) -> list[tarfile.TarInfo]:
    """The tar entries of one path: usually one, overlayfs' marks translated to the image format's."""
    found = path.lstat()
    if stat.S_ISCHR(found.st_mode) and found.st_rdev == 0:
        folder, _, last = name.rpartition("/")
        return [_member(f"{folder}/.wh.{last}".lstrip("/"), tarfile.REGTYPE, 0o600, date)]
    member = _member(name, tarfile.REGTYPE, stat.S_IMODE(found.st_mode), min(int(found.st_mtime), date))
    member.uid, member.gid = found.st_uid, found.st_gid
    if stat.S_ISDIR(found.st_mode):
        member.type = tarfile.DIRTYPE
        opaque = "trusted.overlay.opaque" in os.listxattr(path)
        mark = [_member(f"{name}/.wh..wh..opq", tarfile.REGTYPE, 0o600, date)] if opaque else []
        return [member, *mark]
    if stat.S_ISLNK(found.st_mode):
        member.type, member.linkname = tarfile.SYMTYPE, os.readlink(path)
    elif not stat.S_ISREG(found.st_mode):
        return []
    elif found.st_nlink > 1 and found.st_ino in inodes:
        member.type, member.linkname = tarfile.LNKTYPE, inodes[found.st_ino]
    else:
        inodes[found.st_ino] = name
        member.size = found.st_size
    return [member]


def _member(name: str, kind: bytes, mode: int, mtime: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.mode, member.mtime = kind, mode, mtime
    return member


class _Hashed:
    """A sink that hashes what passes through."""

    def __init__(self, sink: IO[bytes], digest: hashlib._Hash) -> None:
        self.sink = sink
        self.digest = digest

    def write(self, content: bytes) -> int:
        self.digest.update(content)
        return self.sink.write(content)


def _failure(what: str, log: Path) -> LibreshError:
    tail = "\n".join(log.read_text(errors="replace").splitlines()[-25:])
    return LibreshError("image-build-failed", f"{what} failed:\n{tail}", f"the whole log: {log}")
