"""What a person means by KIND/NAME: `matrix/chat`, `mx/chat`, `postgresql/chat-db`, `operator`."""

from collections.abc import Iterable

from libresh.api.meta import Resource
from libresh.errors import LibreshError
from libresh.kube.client import Client
from libresh.kube.errors import NotFound, Refused
from libresh.plan.actions import Object


def parse(handle: str, types: Iterable[type[Resource]]) -> tuple[type[Resource], str]:
    """The kind and the name of `KIND/NAME`; a kind goes by its name, plural or short name, in any case."""
    word, slash, name = handle.partition("/")
    if not slash or not name:
        raise LibreshError(
            "handle", f"{handle!r} is not KIND/NAME", "for example matrix/chat; libresh status lists all"
        )
    known = tuple(types)
    for type in known:
        kind = type.KIND
        if word.lower() in (kind.kind.lower(), kind.plural, *kind.short):
            return type, name
    words = ", ".join(sorted(type.KIND.kind.lower() for type in known))
    raise LibreshError("kind-unknown", f"{handle!r}: there is no kind {word!r} here", f"one of: {words}")


async def find(client: Client, type: type[Resource], name: str, namespace: str) -> Object:
    """The object of that name: in `namespace`, or wherever it is if there is just one."""
    kind = type.KIND.kind
    found = await candidates(client, kind, name, namespace)
    if not found:
        where = f" in {namespace}" if namespace else ""
        raise NotFound("not-found", f"There is no {kind} {name}{where}", "libresh status lists what there is")
    if len(found) > 1:
        places = ", ".join(sorted(obj["metadata"]["namespace"] for obj in found))
        raise LibreshError(
            "ambiguous", f"{kind} {name} exists in several namespaces: {places}", "name one of them with -n"
        )
    return found[0]


async def candidates(client: Client, kind: str, name: str, namespace: str) -> list[Object]:
    """Every object of that name this person can see."""
    if namespace:
        found = await client.get(kind, name, namespace)
        return [found] if found else []
    try:
        return await client.list(kind, fields=f"metadata.name={name}")
    except Refused as error:
        if error.code != 403:
            raise
        found = await client.get(kind, name, client.access.namespace)
        return [found] if found else []
    except NotFound as error:
        raise LibreshError("not-installed", f"This cluster knows no {kind}", "libresh install") from error
