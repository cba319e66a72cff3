"""Settings in layers: the package's defaults < the default profile < the named profile < the instance.

The layers are JSON, as people wrote them: only there can "not said" be told from "said, and the same as the default".
The package's own defaults are those of its types. A reference to a service, or to a certificate, is one wish: a later
layer replaces it as a whole.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, get_type_hints

import msgspec
from msgspec import inspect

from libresh.api.apps import App, AppProfile, AppSpec, ServiceRef, TLSSpec
from libresh.catalog.model import AnyPackage, Refusal
from libresh.plan.actions import Object

PROFILE_NOT_FOUND = "ProfileNotFound"
"""spec.profile names a profile that does not exist."""
WRONG_PROFILE = "WrongProfile"
"""The named profile is for another kind of application."""
SEVERAL_DEFAULT_PROFILES = "SeveralDefaultProfiles"
"""No profile is named, and more than one is the default of this kind."""
INVALID_DEFAULTS = "InvalidDefaults"
"""A profile's defaults, or its locked paths, do not fit the kind's spec."""
LOCKED_BY_PROFILE = "LockedByProfile"
"""The instance sets a path otherwise than a profile that locks it."""
INVALID_SETTINGS = "InvalidSettings"
"""What instance and profiles say does not fit together."""

INSTANCE_ONLY = frozenset({"allowedNamespaces", "host", "profile", "suspend"})
"""What each instance must say for itself."""
WHOLE = (ServiceRef, TLSSpec)
"""Types that are one wish."""


@dataclass(frozen=True)
class Layer:
    """Settings from one place."""

    origin: str
    values: Object


@dataclass(frozen=True)
class Effective:
    """The settings in force."""

    spec: Any
    """Of the kind's own spec type."""
    profile: str = ""
    """The profiles that gave defaults, for people."""
    given: Mapping[str, Any] = field(default_factory=dict)
    """Path → {value, from}, of what the instance did not say itself."""


@cache
def spec_type(kind: type[App]) -> type[AppSpec]:
    """The type of a kind's spec."""
    found = get_type_hints(kind)["spec"]
    assert isinstance(found, type)
    assert issubclass(found, AppSpec)
    return found


def resolve(package: AnyPackage, app: App, raw: Object, profiles: Sequence[AppProfile]) -> Effective | Refusal:
    """The settings in force for an instance whose spec was written as `raw`, or why there are none."""
    chosen = choose_profiles(package, app, profiles)
    if isinstance(chosen, Refusal):
        return chosen
    for profile in chosen:
        if wrong := check_profile(package, profile):
            return wrong
    type = spec_type(package.kind)
    layers = [Layer(f"AppProfile {profile.name}", profile.spec.defaults) for profile in chosen]
    base = merge_all(type, layers)
    for profile in chosen:
        if stop := broken_lock(profile, base, raw, type):
            return stop
    merged = merge(type, base, raw)
    try:
        spec = msgspec.convert(merged, type)
    except msgspec.ValidationError as error:
        return Refusal(INVALID_SETTINGS, f"spec{explained(type, error)} (with what {named(chosen)} gives); correct it")
    return Effective(spec, ", ".join(profile.name for profile in chosen), origins(type, spec, layers, raw))


def named(profiles: Sequence[AppProfile]) -> str:
    """Profiles by name, for a message."""
    return " and ".join(f"AppProfile {profile.name}" for profile in profiles) or "no profile"


def choose_profiles(package: AnyPackage, app: App, profiles: Sequence[AppProfile]) -> list[AppProfile] | Refusal:
    """The default profile of this kind and the named one, weaker first."""
    mine = [profile for profile in profiles if profile.spec.app_kind == package.kind_name and not profile.deleting]
    defaults = [profile for profile in mine if profile.is_default]
    if len(defaults) > 1:
        names = ", ".join(sorted(profile.name for profile in defaults))
        return Refusal(
            SEVERAL_DEFAULT_PROFILES,
            f"several AppProfiles are the default for {package.kind_name}: {names}; take the annotation "
            f"apps.libre.sh/is-default-profile from all but one",
        )
    name = app.spec.profile
    if name is None or any(profile.name == name for profile in defaults):
        return defaults
    found = next((profile for profile in profiles if profile.name == name and not profile.deleting), None)
    if found is None:
        known = ", ".join(sorted(profile.name for profile in mine)) or "(there is none)"
        return Refusal(
            PROFILE_NOT_FOUND,
            f"spec.profile: there is no AppProfile {name}; profiles for {package.kind_name}: {known}. "
            f"Name one of them, or leave spec.profile out",
        )
    if found.spec.app_kind != package.kind_name:
        return Refusal(
            WRONG_PROFILE,
            f"spec.profile: AppProfile {name} is for {found.spec.app_kind}, not for {package.kind_name}; name another "
            f"one, or leave spec.profile out",
        )
    return [*defaults, found]


def check_profile(package: AnyPackage, profile: AppProfile) -> Refusal | None:
    """Whether a profile's defaults and locks fit the kind's spec."""
    type = spec_type(package.kind)
    for path in sorted(INSTANCE_ONLY | package.own_only):
        if path in profile.spec.defaults:
            return invalid(profile, f"spec.defaults.{path} is for each instance to say; take it out")
    if unknown := next(unknown_paths(type, profile.spec.defaults), None):
        return invalid(profile, f"spec.defaults.{unknown}: {package.kind_name} has no such field; take it out")
    try:
        msgspec.convert(profile.spec.defaults, type)
    except msgspec.ValidationError as error:
        return invalid(profile, f"spec.defaults{explained(type, error)}; correct it")
    for path in profile.spec.locked:
        if field_type(type, path) is None:
            return invalid(profile, f"spec.locked: {package.kind_name} has no field {path}; correct the path")
    return None


def invalid(profile: AppProfile, why: str) -> Refusal:
    return Refusal(INVALID_DEFAULTS, f"AppProfile {profile.name}: {why}")


def explained(type: Any, error: msgspec.ValidationError) -> str:
    """`.path: what is wrong`, in the words the field has for it where it has some."""
    words, _, path = str(error).partition(" - at `$")
    path = path.rstrip("`").removeprefix(".")
    info = field_type(type, path.partition("[")[0]) if path else None
    if "matching regex" in words:
        words = next(filter(None, map(message_of, within(info))), words)
    if "enum value" in words:
        words += f" (it takes {', '.join(map(str, choices(info)))})"
    return f".{path}: {words}" if path else f": {words}"


def within(info: inspect.Type | None) -> Iterator[inspect.Metadata]:
    """The annotations of a type, through `| None`."""
    match info:
        case inspect.Metadata():
            yield info
            yield from within(info.type)
        case inspect.UnionType():
            for each in info.types:
                yield from within(each)


def choices(info: inspect.Type | None) -> tuple[Any, ...]:
    """The values a choice has."""
    match info:
        case inspect.LiteralType():
            return info.values
        case inspect.Metadata():
            return choices(info.type)
        case inspect.ListType():
            return choices(info.item_type)
        case inspect.UnionType():
            return next(filter(None, map(choices, info.types)), ())
        case _:
            return ()


def message_of(info: inspect.Metadata) -> str:
    return str((info.extra or {}).get("message", ""))


def broken_lock(profile: AppProfile, base: Object, raw: Object, type: type[AppSpec]) -> Refusal | None:
    """The first locked path that the instance sets otherwise."""
    defaults = everything(msgspec.convert(base, type))
    for path in sorted(profile.spec.locked):
        said = look_up(raw, path)
        if said is None or said == {}:
            continue
        given = look_up(base, path)
        wanted = look_up(defaults, path) if given is None else given
        if said != wanted and not is_within(said, wanted):
            shown = "it must not be set" if wanted is None else f"it must be {spelled(wanted)} or absent"
            return Refusal(
                LOCKED_BY_PROFILE,
                f"spec.{path} is locked by AppProfile {profile.name}: {shown}; take it out of this object, or ask for "
                f"another profile",
            )
    return None


def is_within(said: Any, wanted: Any) -> bool:
    """Whether all that was said is also wanted, for locks on a whole group of settings."""
    if isinstance(said, dict) and isinstance(wanted, dict):
        return all(key in wanted and is_within(value, wanted[key]) for key, value in said.items())
    return bool(said == wanted)


def merge_all(type: Any, layers: Sequence[Layer]) -> Object:
    """All layers, the later over the earlier."""
    merged: Object = {}
    for layer in layers:
        merged = merge(type, merged, layer.values)
    return merged


def merge(type: Any, under: Object, over: Object) -> Object:
    """`over` laid on `under`: groups of settings are merged field by field, all else is replaced."""
    merged = dict(under)
    for key, value in over.items():
        if value is None:
            continue
        inner = struct_in(type, key)
        if isinstance(value, dict) and isinstance(merged.get(key), dict) and inner is not None:
            if issubclass(inner, WHOLE):
                merged[key] = value or merged[key]
            else:
                merged[key] = merge(inner, merged[key], value)
        else:
            merged[key] = value
    return merged


@cache
def fields_of(type: Any) -> Mapping[str, inspect.Type]:
    """A Struct's fields as they are written, with their types."""
    info = inspect.type_info(type)
    assert isinstance(info, inspect.StructType)
    return {each.encode_name: each.type for each in info.fields}


@cache
def struct_in(type: Any, key: str) -> type[msgspec.Struct] | None:
    """The Struct that the field written `key` holds, if it holds one."""
    return struct_of(fields_of(type).get(key))


def struct_of(info: inspect.Type | None) -> type[msgspec.Struct] | None:
    """The Struct behind annotations and `| None`."""
    match info:
        case inspect.Metadata():
            return struct_of(info.type)
        case inspect.UnionType():
            return next((found for found in map(struct_of, info.types) if found), None)
        case inspect.StructType():
            return info.cls
        case _:
            return None


def unknown_paths(type: Any, values: Object, prefix: str = "") -> Iterator[str]:
    """Paths of `values` that `type` does not have."""
    for key, value in sorted(values.items()):
        inner = struct_in(type, key)
        if key not in fields_of(type):
            yield prefix + key
        elif inner is not None and isinstance(value, dict):
            yield from unknown_paths(inner, value, f"{prefix}{key}.")


def field_type(type: Any, path: str) -> inspect.Type | None:
    """The type at a path below the spec, or None where there is no such field."""
    info: inspect.Type | None = inspect.type_info(type)
    for step in path.split("."):
        inner = struct_of(info)
        if inner is None:
            return None
        info = fields_of(inner).get(step)
    return info


def look_up(values: Any, path: str) -> Any:
    """The value at a path, or None."""
    for step in path.split("."):
        values = values.get(step) if isinstance(values, dict) else None
    return values


def origins(type: Any, spec: AppSpec, layers: Sequence[Layer], raw: Object) -> dict[str, Any]:
    """Every setting in force that the instance did not say itself, with where it comes from."""
    found: dict[str, Any] = {}
    for path, value in leaves(type, everything(spec)):
        if path.split(".")[0] in INSTANCE_ONLY or says(raw, path):
            continue
        origin = next((layer.origin for layer in reversed(layers) if says(layer.values, path)), "built in")
        found[path] = {"value": value, "from": origin}
    return dict(sorted(found.items()))


def says(values: Object, path: str) -> bool:
    """Whether a layer decides the value at a path: an empty wish decides nothing."""
    return look_up(values, path) not in (None, {})


@cache
def written_names(type: Any) -> tuple[tuple[str, str], ...]:
    """A Struct's fields, as Python and as JSON call them."""
    return tuple((each.name, each.encode_name) for each in msgspec.structs.fields(type))


def everything(value: Any) -> Any:
    """A declared value as JSON with the fields that equal their defaults, which encoding leaves out. What is None is
    absent."""
    if isinstance(value, msgspec.Struct):
        found = {written: everything(getattr(value, name)) for name, written in written_names(type(value))}
        return {key: inner for key, inner in found.items() if inner is not None}
    if isinstance(value, list | tuple):
        return [everything(each) for each in value]
    if isinstance(value, dict):
        return {key: everything(each) for key, each in value.items()}
    return value


def leaves(type: Any, values: Object, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Settings by path; a wish for a service counts as one."""
    for key, value in values.items():
        inner = struct_in(type, key)
        if inner is not None and isinstance(value, dict) and not issubclass(inner, WHOLE):
            yield from leaves(inner, value, f"{prefix}{key}.")
        elif value != {}:
            yield f"{prefix}{key}", value


def spelled(value: Any) -> str:
    """A value as a person would write it."""
    return msgspec.json.encode(value).decode()
