"""Settings in layers: who wins, where each value came from, and what is refused."""

from typing import Any

import msgspec
import pytest

from libresh.api.apps import AppProfile
from libresh.apps.matrix.package import PACKAGE
from libresh.apps.matrix.spec import Matrix
from libresh.catalog.model import Refusal
from libresh.catalog.profile import Effective, check_profile, everything, look_up, resolve


def profile(
    name: str, defaults: Any = None, *, default: bool = False, kind: str = "Matrix", locked: Any = ()
) -> AppProfile:
    stored = {
        "metadata": {"name": name, "annotations": {"apps.libre.sh/is-default-profile": "true"} if default else {}},
        "spec": {"appKind": kind, "defaults": defaults or {}, "locked": list(locked)},
    }
    return msgspec.convert(stored, AppProfile)


def resolved(raw: dict[str, Any], *profiles: AppProfile) -> Effective | Refusal:
    raw = {"host": "chat.example.org", **raw}
    return resolve(PACKAGE, msgspec.convert({"metadata": {"name": "chat"}, "spec": raw}, Matrix), raw, profiles)


OPEN = {"settings": {"registration": "Open"}}
LAYERS: dict[str, tuple[dict[str, Any], tuple[AppProfile, ...], str, Any]] = {
    "built in": ({}, (), "settings.registration", "Closed"),
    "the default profile gives": ({}, (profile("d", OPEN, default=True),), "settings.registration", "Open"),
    "others do not": ({}, (profile("o", OPEN),), "settings.registration", "Closed"),
    "the named one gives": ({"profile": "n"}, (profile("n", OPEN),), "settings.registration", "Open"),
    "the named one wins over the default": (
        {"profile": "n"},
        (profile("d", OPEN, default=True), profile("n", {"settings": {"registration": "Closed"}})),
        "settings.registration",
        "Closed",
    ),
    "the default still gives what the named one does not": (
        {"profile": "n"},
        (profile("d", OPEN, default=True), profile("n", {"settings": {"federation": False}})),
        "settings.registration",
        "Open",
    ),
    "the instance wins, also with a built-in value": (
        {"profile": "n", "settings": {"registration": "Closed"}},
        (profile("n", OPEN),),
        "settings.registration",
        "Closed",
    ),
    "settings are merged one by one": (
        {"profile": "n", "settings": {"federation": False}},
        (profile("n", OPEN),),
        "settings.registration",
        "Open",
    ),
    "a wish for a service is replaced as a whole": (
        {"profile": "n", "database": {"claim": "mine"}},
        (profile("n", {"database": {"className": "ha"}}),),
        "database",
        {"claim": "mine"},
    ),
    "an empty wish leaves the class to the profile": (
        {"profile": "n", "mail": {}},
        (profile("n", {"mail": {"className": "relay"}}),),
        "mail",
        {"className": "relay"},
    ),
    "a profile can give mail": ({"profile": "n"}, (profile("n", {"mail": {}}),), "mail", {}),
    "a profile can keep no data": (
        {"profile": "n"},
        (profile("n", {"deletionPolicy": "Delete"}),),
        "deletionPolicy",
        "Delete",
    ),
    "profiles of other kinds are not asked": (
        {},
        (profile("d", {"settings": 1}, default=True, kind="Wiki"),),
        "settings.registration",
        "Closed",
    ),
}


@pytest.mark.parametrize("case", LAYERS)
def test_layers(case: str) -> None:
    raw, profiles, path, expected = LAYERS[case]
    found = resolved(raw, *profiles)
    assert isinstance(found, Effective)
    assert look_up(everything(found.spec), path) == expected


def test_every_value_says_where_it_is_from() -> None:
    found = resolved(
        {"profile": "n", "version": "1", "settings": {"metrics": False}},
        profile("d", OPEN, default=True),
        profile("n", {"settings": {"federation": False}, "mail": {"className": "relay"}}),
    )
    assert isinstance(found, Effective)
    assert found.profile == "d, n"
    assert found.given == {
        "deletionPolicy": {"value": "Retain", "from": "built in"},
        "mail": {"value": {"className": "relay"}, "from": "AppProfile n"},
        "settings.federation": {"value": False, "from": "AppProfile n"},
        "settings.maxUploadSize": {"value": "50M", "from": "built in"},
        "settings.passwordLogin": {"value": True, "from": "built in"},
        "settings.registration": {"value": "Open", "from": "AppProfile d"},
    }


LOCKED = profile("n", OPEN, locked=["settings.registration"])
REFUSED: dict[str, tuple[dict[str, Any], tuple[AppProfile, ...], str, str]] = {
    "unknown": (
        {"profile": "x"},
        (profile("n"),),
        "ProfileNotFound",
        "there is no AppProfile x; profiles for Matrix: n.",
    ),
    "for another kind": ({"profile": "w"}, (profile("w", kind="Wiki"),), "WrongProfile", "AppProfile w is for Wiki"),
    "several defaults": (
        {},
        (profile("a", default=True), profile("b", default=True)),
        "SeveralDefaultProfiles",
        "a, b",
    ),
    "locked": (
        {"profile": "n", "settings": {"registration": "Closed"}},
        (LOCKED,),
        "LockedByProfile",
        'spec.settings.registration is locked by AppProfile n: it must be "Open" or absent',
    ),
    "locked at the built-in value": (
        {"profile": "n", "settings": {"federation": False}},
        (profile("n", locked=["settings.federation"]),),
        "LockedByProfile",
        "it must be true or absent",
    ),
    "a locked group": (
        {"profile": "n", "settings": {"metrics": False}},
        (profile("n", OPEN, locked=["settings"]),),
        "LockedByProfile",
        "spec.settings is locked",
    ),
    "locked away": (
        {"profile": "n", "mail": {"className": "relay"}},
        (profile("n", locked=["mail"]),),
        "LockedByProfile",
        "it must not be set",
    ),
    "defaults that do not fit": (
        {"profile": "n"},
        (profile("n", {"settings": {"registration": "open"}}),),
        "InvalidDefaults",
        "settings.registration",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case: str) -> None:
    raw, profiles, reason, words = REFUSED[case]
    found = resolved(raw, *profiles)
    assert isinstance(found, Refusal)
    assert found.reason == reason
    assert words in found.message


def test_saying_what_is_locked_is_allowed() -> None:
    assert isinstance(resolved({"profile": "n", "settings": {"registration": "Open"}}, LOCKED), Effective)


INVALID: dict[str, tuple[AppProfile, str]] = {
    "a host": (profile("n", {"host": "chat.example.org"}), "spec.defaults.host is for each instance to say"),
    "a server name": (
        profile("n", {"serverName": "example.org"}),
        "spec.defaults.serverName is for each instance to say",
    ),
    "a field nobody knows": (profile("n", {"settings": {"regstration": "Open"}}), "spec.defaults.settings.regstration"),
    "a wrong type": (profile("n", {"settings": {"federation": "no"}}), "settings.federation"),
    "no quantity": (profile("n", {"settings": {"maxUploadSize": "much"}}), "settings.maxUploadSize"),
    "a lock on nothing": (profile("n", locked=["settings.colour"]), "Matrix has no field settings.colour"),
}


@pytest.mark.parametrize("case", INVALID)
def test_invalid_profiles(case: str) -> None:
    broken, words = INVALID[case]
    found = check_profile(PACKAGE, broken)
    assert found is not None
    assert found.reason == "InvalidDefaults"
    assert found.message.startswith("AppProfile n: ")
    assert words in found.message
