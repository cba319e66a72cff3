"""The whole operator with claims that begin with the data of another one, on contract stubs of those who copy it."""

from dataclasses import replace
from typing import Any

import pytest

from laws.test_handed_claims import (
    SPACE,
    STORIES,
    Object,
    Story,
    all_theirs,
    build_class,
    claim,
    install,
    ready,
    until,
    world,
)
from laws.whole import Whole, deaths, whole
from support.contracts import CloudNativePG

COPYING = (STORIES[0], replace(STORIES[1], parameters={"instances": 2, "archive": True}))
"""Those that can be restored to a moment, too."""
each = pytest.mark.parametrize("story", COPYING, ids=lambda story: story.driver)
every_story = pytest.mark.parametrize(
    "story", [COPYING[0], pytest.param(COPYING[1], marks=pytest.mark.thorough)], ids=lambda story: story.driver
)
"""What both have from one place (drivers/handed.py): the fast part of the tests tries it with the first."""


def copy(name: str = "copy", source: str = "my-db", at: str | None = None, **spec: Any) -> Object:
    return claim(name, source={"claim": {"name": source}, **({"at": at} if at else {})}, **spec)


def theirs(found: Whole, story: Story, name: str) -> Object | None:
    """The object behind a claim."""
    return found.api.get(story.kind, story.name.replace("my-db", name), SPACE)


def source_of(obj: Object | None) -> str:
    """Which object's data an object says that it begins with."""
    spec: Object = (obj or {})["spec"]
    began = spec.get("clone") or next(iter(spec.get("bootstrap", {}).values()), {})
    return str(began.get("source") or began.get("cluster") or "")


def edit(found: Whole, name: str, **spec: Any) -> None:
    found.api.edit("PostgreSQL", name, SPACE, spec=spec)


@each
async def test_a_copy_has_credentials_of_its_own_and_does_not_need_its_source_any_more(story: Story) -> None:
    async with world(story, claim(deletionPolicy="Delete"), copy()) as (found, _):
        assert found.not_ready() == {}
        made = theirs(found, story, "copy")
        assert source_of(made) == story.name
        passwords = [
            (found.api.get("Secret", f"{name}-postgresql-connection", SPACE) or {})["data"]["password"]
            for name in ("my-db", "copy")
        ]
        assert passwords[0] != passwords[1]
        found.api.delete("PostgreSQL", "my-db", SPACE)
        await found.settle()
        assert theirs(found, story, "my-db") is None
        assert theirs(found, story, "copy") == made
        assert found.not_ready() == {}
        assert await found.restarted() == []


@each
async def test_a_moment_is_restored(story: Story) -> None:
    async with world(story, claim(), copy(at="2020-01-31T12:00:00Z")) as (found, _):
        assert found.not_ready() == {}
        assert source_of(theirs(found, story, "copy")) == story.name
        assert "2020-01-31T12:00:00+00:00" in str((theirs(found, story, "copy") or {})["spec"])


@every_story
async def test_a_copy_waits_for_its_source_and_can_be_corrected(story: Story) -> None:
    async with world(story, copy(source="misspelt")) as (found, _):
        assert ready(found, "copy")["reason"] == "SourceMissing"
        assert all_theirs(found, story) == []
        assert "driver" not in (found.api.get("PostgreSQL", "copy", SPACE) or {})["status"], "the class is free yet"
        edit(found, "copy", source={"claim": {"name": "my-db"}})
        await found.settle()
        assert "there is no PostgreSQL my-db" in ready(found, "copy")["message"]
        found.api.create(claim())
        await found.settle()
        assert found.not_ready() == {}
        assert source_of(theirs(found, story, "copy")) == story.name


@every_story
async def test_a_copy_waits_until_its_source_works(story: Story) -> None:
    async with world(story) as (found, stub):
        stub.says[story.name] = story.failing
        found.api.create(claim())
        found.api.create(copy())
        await found.settle()
        assert ready(found, "copy")["reason"] == "SourceNotReady"
        assert theirs(found, story, "copy") is None
        stub.says.clear()
        await found.settle()
        assert found.not_ready() == {}


@every_story
async def test_what_is_kept_is_never_overwritten_by_a_copy(story: Story) -> None:
    async with world(story, claim(), claim("copy")) as (found, _):
        kept = theirs(found, story, "copy")
        found.api.delete("PostgreSQL", "copy", SPACE)
        await found.settle()
        found.api.create(copy())
        await found.settle()
        assert ready(found, "copy")["reason"] == "SourceUnfit"
        assert "take spec.source out to use it as it is" in ready(found, "copy")["message"]
        assert theirs(found, story, "copy") == kept
        edit(found, "copy", source=None)
        await found.settle()
        assert found.not_ready() == {}
        assert (theirs(found, story, "copy") or {})["spec"] == (kept or {})["spec"]


@every_story
async def test_a_kept_copy_is_found_again_without_its_source(story: Story) -> None:
    async with world(story, claim(deletionPolicy="Delete"), copy()) as (found, _):
        made = theirs(found, story, "copy")
        for name in ("copy", "my-db"):
            found.api.delete("PostgreSQL", name, SPACE)
            await found.settle()
        for again in (copy(), claim("copy")):
            found.api.create(again)
            await found.settle()
            assert found.not_ready() == {}
            assert theirs(found, story, "copy") == made
            found.api.delete("PostgreSQL", "copy", SPACE)
            await found.settle()


@every_story
async def test_a_copy_that_waits_can_be_deleted(story: Story) -> None:
    async with world(story, copy(deletionPolicy="Delete")) as (found, _):
        found.api.delete("PostgreSQL", "copy", SPACE)
        await found.settle()
        assert found.api.get("PostgreSQL", "copy", SPACE) is None


@every_story
async def test_a_copy_whose_object_is_lost_is_copied_anew_and_never_begins_empty(story: Story) -> None:
    async with world(story, claim(deletionPolicy="Delete"), copy(deletionPolicy="Delete")) as (found, _):
        name = story.name.replace("my-db", "copy")
        found.api.delete(story.kind, name, SPACE)
        await found.settle()
        assert found.not_ready() == {}
        assert source_of(theirs(found, story, "copy")) == story.name
        found.api.delete("PostgreSQL", "my-db", SPACE)
        await found.settle()
        found.api.delete(story.kind, name, SPACE)
        await found.settle()
        assert ready(found, "copy")["reason"] == "SourceMissing"
        assert theirs(found, story, "copy") is None
        found.api.delete("PostgreSQL", "copy", SPACE)
        await found.settle()
        assert found.api.get("PostgreSQL", "copy", SPACE) is None
        assert all_theirs(found, story) == []


@every_story
@pytest.mark.parametrize("death", deaths(range(1, 12, 2)))
async def test_it_may_die_at_any_write(story: Story, death: int) -> None:
    async with whole(build_class(story)) as found:
        install(found, story)
        story.stub(found.api)
        found.api.create(claim())
        found.api.create(copy())
        await found.die(death)
        await found.rise()
        assert found.not_ready() == {}
        assert source_of(theirs(found, story, "copy")) == story.name


# --- what CloudNativePG says of backups ------------------------------------------------------------------------------


def window(found: Whole) -> Object:
    obj: Object = found.api.get("PostgreSQL", "my-db", SPACE) or {}
    return obj["status"].get("recoveryWindow", {})


def offsite(found: Whole) -> None:
    """The ObjectStore that the class's backups go to."""
    metadata = {"name": "offsite", "namespace": SPACE}
    found.api.create({"apiVersion": "barmancloud.cnpg.io/v1", "kind": "ObjectStore", "metadata": metadata, "spec": {}})


async def test_what_can_be_restored_is_told_and_looked_at() -> None:
    async with world(COPYING[0], claim()) as (found, stub):
        assert isinstance(stub, CloudNativePG)
        assert window(found) == {}
        (plugin,) = (theirs(found, COPYING[0], "my-db") or {})["spec"]["plugins"]
        stub.backed_up[plugin["parameters"]["serverName"]] = ("2026-01-01T03:00:00Z", "2026-01-31T03:00:00Z")
        offsite(found)
        await until(found, lambda: window(found) != {})
        assert window(found) == {"earliest": "2026-01-01T03:00:00Z", "latest": "2026-01-31T03:00:00Z"}
        found.api.create(copy(at="2025-12-31T03:00:00Z"))
        await found.settle()
        assert ready(found, "copy")["reason"] == "SourceUnfit"
        assert "is before 2026-01-01T03:00:00Z, the first moment" in ready(found, "copy")["message"]
        assert await found.written_within(0.6) == []


async def test_who_may_not_read_object_stores_loses_only_that() -> None:
    async with world(COPYING[0]) as (found, _):
        offsite(found)
        found.api.faults.refuse(403, kind="ObjectStore", times=1000)
        found.api.create(claim())
        await found.settle()
        assert found.not_ready() == {}
        assert window(found) == {}
