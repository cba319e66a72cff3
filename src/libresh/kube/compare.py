"""Whether an object already is as wished: everything asked for is there, whatever the server added besides.

The comparison follows server-side apply: maps are compared key by key, lists that Kubernetes merges by a key are
matched by that key (and may hold more), all other lists must be equal. Quantities and int-or-string values are
compared by what they mean.
"""

from typing import Any

from libresh.api.quantity import exact
from libresh.errors import LibreshError

MERGE_KEYS: dict[str, tuple[tuple[str, ...], ...]] = {
    "containers": (("name",),),
    "initContainers": (("name",),),
    "ephemeralContainers": (("name",),),
    "volumes": (("name",),),
    "env": (("name",),),
    "imagePullSecrets": (("name",),),
    "volumeMounts": (("mountPath",),),
    "volumeDevices": (("devicePath",),),
    "ports": (("containerPort", "protocol"), ("port", "protocol"), ("name",)),
    "hostAliases": (("ip",),),
    "topologySpreadConstraints": (("topologyKey", "whenUnsatisfiable"),),
    "conditions": (("type",),),
    "ownerReferences": (("uid",),),
    "secrets": (("name",),),
    "resourceClaims": (("name",),),
    "schedulingGates": (("name",),),
    "podIPs": (("ip",),),
}
"""Lists of maps that the API server merges by a key, by the name of the field that holds them."""

PROTOCOL = "TCP"
QUANTITIES = frozenset(
    ("requests", "limits", "capacity", "hard", "allocatedResources", "sizeLimit", "divisor", "storage")
)
"""Fields below which a text is a quantity."""
PLAIN = frozenset((str, int, bool))
SETS = frozenset(("finalizers", "accessModes"))

Difference = tuple[str, Any, Any]
"""Path, wished value, live value."""


def difference(wish: Any, live: Any, path: str = "", field: str = "", quantity: bool = False) -> Difference | None:
    """The first thing wished for that is not so, or None."""
    if isinstance(wish, dict):
        return map_difference(wish, live, path, quantity)
    if isinstance(wish, list | tuple):
        return list_difference(list(wish), live, path, field, quantity)
    if same_scalar(wish, live, quantity):
        return None
    return (path, wish, live)


def map_difference(wish: dict[str, Any], live: Any, path: str, quantity: bool) -> Difference | None:
    if not isinstance(live, dict):
        return None if live is None and all(is_empty(value) for value in wish.values()) else (path, wish, live)
    get = live.get
    for key, value in wish.items():
        have = get(key)
        # Most fields are texts that are the same: they need no look at their path or type.
        if value is have or (type(value) is type(have) and type(value) in PLAIN and value == have):
            continue
        found = difference(value, have, f"{path}.{key}" if path else key, key, quantity or key in QUANTITIES)
        if found is not None:
            return found
    return None


def list_difference(wish: list[Any], live: Any, path: str, field: str, quantity: bool) -> Difference | None:
    if not isinstance(live, list):
        return None if not wish and not live else (path, wish, live)
    if field in SETS:
        missing = [item for item in wish if item not in live]
        return (path, missing, live) if missing else None
    keys = merge_keys(field, wish)
    if keys:
        return keyed_difference(wish, live, keys, path, quantity)
    if len(wish) != len(live):
        return (path, wish, live)
    for index, (left, right) in enumerate(zip(wish, live, strict=True)):
        found = difference(left, right, f"{path}[{index}]", field, quantity)
        if found is not None:
            return found
    return None


def keyed_difference(
    wish: list[Any], live: list[Any], keys: tuple[str, ...], path: str, quantity: bool
) -> Difference | None:
    there = {identity(item, keys): item for item in live if isinstance(item, dict)}
    for item in wish:
        name = identity(item, keys)
        where = f"{path}[{'/'.join(str(part) for part in name)}]"
        if name not in there:
            return (where, item, None)
        found = difference(item, there[name], where, "", quantity)
        if found is not None:
            return found
    return None


def merge_keys(field: str, wish: list[Any]) -> tuple[str, ...]:
    """The keys by which a list is merged; empty for lists that are compared as a whole."""
    for keys in MERGE_KEYS.get(field, ()):
        if wish and all(isinstance(item, dict) and keys[0] in item for item in wish):
            return keys
    return ()


def identity(item: dict[str, Any], keys: tuple[str, ...]) -> tuple[Any, ...]:
    return tuple(item.get(key, PROTOCOL if key == "protocol" else None) for key in keys)


def is_empty(value: Any) -> bool:
    """Whether the API server may leave such a value out."""
    return value is None or value is False or value == "" or value == 0 or value == [] or value == {}


def same_scalar(wish: Any, live: Any, quantity: bool) -> bool:
    """Whether two values mean the same."""
    if live is None:
        return is_empty(wish)
    if isinstance(wish, bool) or isinstance(live, bool):
        return wish is live
    if isinstance(wish, int | float) and isinstance(live, int | float):
        return wish == live
    if isinstance(wish, str | int | float) and isinstance(live, str | int | float):
        if str(wish) == str(live):
            return True
        if quantity:
            try:
                return exact(str(wish)) == exact(str(live))
            except LibreshError:
                return False
    return False
