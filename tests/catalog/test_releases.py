"""Release graphs: choosing a version, and what may follow what."""

from pathlib import Path

import pytest

from libresh.apps import packages
from libresh.catalog.releases import Release, build_releases, is_prefix, load_releases
from libresh.errors import LibreshError

GRAPH = build_releases(
    [
        Release(version="1.9.0", images={}),
        Release(version="1.10.0", images={}, from_=["1.9"]),
        Release(version="1.10.1", images={}, from_=["1.9", "1.10"], withdrawn="loses messages"),
        Release(version="2.0.0rc1", images={}, from_=["1.10.0"]),
        Release(version="2.0.0", images={}, from_=["1.10"]),
    ]
)

CHOICES = {
    "anything is the newest": (None, "2.0.0"),
    "a beginning is the newest of it": ("1", "1.10.0"),
    "a withdrawn one is passed over": ("1.10", "1.10.0"),
    "exactly": ("1.9.0", "1.9.0"),
    "a part of a number is no beginning": ("1.1", None),
    "a pre-release by its name": ("2.0.0rc1", "2.0.0rc1"),
    "one there is not": ("3", None),
    "withdrawn, exactly": ("1.10.1", None),
}


@pytest.mark.parametrize("case", CHOICES)
def test_choose(case: str) -> None:
    wish, expected = CHOICES[case]
    found = GRAPH.choose(wish)
    assert (found.version if found else None) == expected


FOLLOWS = {
    "itself": ("2.0.0", "2.0.0", True),
    "what its graph names": ("1.10.5", "2.0.0", True),
    "not what it skips": ("1.9.0", "2.0.0", False),
    "never backwards": ("2.0.0", "1.10.0", False),
}


@pytest.mark.parametrize("case", FOLLOWS)
def test_follows(case: str) -> None:
    running, wanted, expected = FOLLOWS[case]
    release = GRAPH.get(wanted)
    assert release is not None
    assert release.follows(running) is expected


def test_newest_first() -> None:
    assert GRAPH.names == ("2.0.0", "2.0.0rc1", "1.10.0", "1.9.0")


def test_prefixes_are_whole_parts() -> None:
    assert is_prefix("1.16", "1.16.2")
    assert not is_prefix("1.16", "1.163.2")


BAD = {
    "twice the same": "releases: [{version: '1', images: {}}, {version: '1', images: {}}]",
    "nothing to install": "releases: [{version: '1', images: {}, withdrawn: broken}]",
    "a word nobody knows": "releases: [{version: '1', images: {}, form: ['1']}]",
    "a number for a version": "releases: [{version: 1.10, images: {}}]",
    "no YAML": "releases: [",
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_graph_is_refused_with_its_file(case: str, tmp_path: Path) -> None:
    path = tmp_path / "releases.yaml"
    path.write_text(BAD[case])
    with pytest.raises(LibreshError, match=r"releases\.yaml"):
        load_releases(path)


@pytest.mark.parametrize("kind", list(packages()))
def test_every_package_can_be_installed(kind: str) -> None:
    assert packages()[kind].releases.choose(None) is not None
