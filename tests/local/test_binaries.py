"""Building: recipes, what a binary set's name depends on, and that a half-built set is never seen."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from libresh.errors import LibreshError
from libresh.local import binaries


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tiny binary set of its own, with a cache of its own."""
    folder = tmp_path / "go" / "tiny"
    folder.mkdir(parents=True)
    (folder / "go.mod").write_text("module example.org/tiny\n\ngo 1.24\n")
    (folder / "main.go").write_text('package main\n\nfunc main() { println("hello") }\n')
    monkeypatch.setattr(binaries, "sources", lambda: tmp_path / "go")
    monkeypatch.setenv("LIBRESH_CACHE", str(tmp_path / "cache"))
    return folder


def entries(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "cache" / "bin").iterdir())


def test_a_set_is_built_once_and_found_again(module: Path, tmp_path: Path) -> None:
    assert not binaries.is_built("tiny")
    said: list[str] = []
    made = binaries.build("tiny", said.append)
    assert (made / "tiny").stat().st_mode & 0o111
    assert binaries.is_built("tiny")
    before = (made / "tiny").stat().st_mtime_ns
    assert binaries.build("tiny", said.append) == made
    assert (made / "tiny").stat().st_mtime_ns == before
    assert said == ["building tiny from source"]


def test_a_failed_build_leaves_nothing_and_names_the_log(module: Path, tmp_path: Path) -> None:
    (module / "main.go").write_text("package main\n\nfunc main() { nothing() }\n")
    with pytest.raises(LibreshError, match="undefined: nothing") as caught:
        binaries.build("tiny")
    assert "build-tiny.log" in caught.value.hint
    assert entries(tmp_path) == [".tiny.lock"]


def test_what_a_killed_build_left_is_removed(module: Path, tmp_path: Path) -> None:
    draft = tmp_path / "cache" / "bin" / ".tiny-abc" / "bin"
    draft.mkdir(parents=True)
    binaries.build("tiny")
    assert not draft.exists()


def test_the_same_set_is_built_once_by_two_at_a_time(module: Path) -> None:
    said: list[str] = []
    with ThreadPoolExecutor() as pool:
        made = set(pool.map(lambda _: binaries.build("tiny", said.append), range(4)))
    assert len(made) == 1
    assert len(said) == 1


def test_links_are_made(module: Path) -> None:
    (module / "build.json").write_text('{"steps": [{"packages": ["."]}], "links": {"tiny": ["one", "two"]}}')
    made = binaries.build("tiny")
    assert (made / "one").resolve() == (made / "tiny").resolve()
    assert (made / "two").exists()


@pytest.mark.parametrize("change", ["main.go", "go.mod", "build.json", "sub/data.html"])
def test_whatever_shapes_a_binary_is_in_its_name(module: Path, change: str) -> None:
    before = binaries.locate("tiny")
    path = module / change
    path.parent.mkdir(exist_ok=True)
    path.write_text((path.read_text() if path.exists() else "") + "\n")
    assert binaries.locate("tiny") != before


@pytest.mark.parametrize("change", ["README.md", "main_test.go", ".hidden"])
def test_whatever_does_not_is_not(module: Path, change: str) -> None:
    before = binaries.locate("tiny")
    (module / change).write_text("x")
    assert binaries.locate("tiny") == before


def test_the_toolchain_is_part_of_the_name(module: Path) -> None:
    assert binaries.digest_of(module, "go1.26 linux arm64") != binaries.digest_of(module, "go1.26 linux amd64")


def test_a_module_of_tools_needs_no_recipe(tmp_path: Path) -> None:
    (tmp_path / "go.mod").write_text("")
    assert binaries.read_recipe(tmp_path).steps[0].packages == ("tool",)
    (tmp_path / "main.go").write_text("")
    assert binaries.read_recipe(tmp_path).steps[0].packages == (".",)


def test_without_go_the_way_out_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    with pytest.raises(LibreshError, match="no go command") as caught:
        binaries.find_go()
    assert "go.dev/dl" in caught.value.hint


def test_an_old_go_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = tmp_path / "go"
    old.write_text("#!/bin/sh\necho go1.19.8\n")
    old.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LibreshError, match=r"go1\.19\.8; 1\.24 is needed"):
        binaries.find_go()


def test_old_builds_go_unless_a_cluster_runs_them(
    module: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(binaries, "KEPT_BUILDS", 1)
    monkeypatch.setenv("LIBRESH_STATE", str(tmp_path / "state"))
    config = tmp_path / "state" / "clusters" / "c" / "nodes" / "node-1" / "keeper.json"
    config.parent.mkdir(parents=True)
    made = []
    for number in range(4):
        (module / "main.go").write_text(f"package main\n\nfunc main() {{ println({number}) }}\n")
        made.append(binaries.build("tiny"))
        os.utime(made[-1], (number, number))
        if number == 0:
            config.write_text(f'{{"services": [{{"argv": ["{made[0]}/tiny"]}}]}}')
    # The last one came after the cleaning.
    assert [path.exists() for path in made] == [True, False, True, True]
