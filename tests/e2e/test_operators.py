"""Databases by another operator. The operators are contract stubs, and the PostgreSQL they stand on is real."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from e2e import kubernetes
from e2e.kubernetes import Kube
from e2e.waiting import until
from e2e.world import World
from libresh.catalog.settings import Settings
from libresh.cli.bringup import PREFIX
from support.contracts import CloudNativePG, Contract, Zalando, over_http

Object = dict[str, Any]
SPACE = "handed"
IMAGE = Settings(image_prefix=PREFIX).image("postgresql", "17")
CASES: dict[str, tuple[type[Contract], Object]] = {
    "cloudnative-pg": (CloudNativePG, {"images": {"17": IMAGE}, "sslMode": "verify-full"}),
    "zalando": (Zalando, {}),
}


def rights(stub: type[Contract]) -> Object:
    """What a cluster's operator gives libre.sh."""
    rules = [
        {
            "apiGroups": [crd["spec"]["group"]],
            "resources": [crd["spec"]["names"]["plural"]],
            "verbs": ["get", "list", "watch", "create", "patch", "delete"],
        }
        for crd in stub.crds
    ]
    metadata = {"name": f"libresh-composes-{stub.manager}", "labels": {"libre.sh/aggregate-to-operator": "true"}}
    return {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": metadata, "rules": rules}


def database(name: str, class_name: str, **spec: Any) -> Object:
    return {
        "apiVersion": "database.libre.sh/v1alpha1",
        "kind": "PostgreSQL",
        "metadata": {"name": name, "namespace": SPACE},
        "spec": {
            "className": class_name,
            "parameters": {"storage": "1Gi", "extensions": ["pg_trgm"]},
            "deletionPolicy": "Delete",
            **spec,
        },
    }


CLIENT = """
read -r PGURI; read -r STATEMENT; cat > /tmp/published.crt
test ! -s /tmp/published.crt || export PGSSLROOTCERT=/tmp/published.crt
exec psql --no-psqlrc --tuples-only --no-align --quiet --command "$STATEMENT" "$PGURI"
"""


async def query(world: World, kube: Kube, given: dict[str, str], statement: str) -> str:
    """What a client in the cluster gets that uses the published connection as it stands."""
    pod = next(each for each in await kube.items("Pod", SPACE) if kubernetes.condition(each)[0] == "True")
    spoken = f"{given['uri']}\n{statement}\n{given.get('ca.crt', '')}"
    words = ("exec", "-i", "-n", SPACE, pod["metadata"]["name"], "--", "/bin/sh", "-euc", CLIENT)
    return (await asyncio.to_thread(world.kubectl, *words, given=spoken)).strip()


@pytest.mark.e2e
@pytest.mark.parametrize("driver", CASES)
async def test_a_database_of_another_operator_can_be_used(
    driver: str, world: World, kube: Kube, tell: Callable[[str], None]
) -> None:
    made, parameters = CASES[driver]
    await kube.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}})
    cls = {
        "apiVersion": "services.libre.sh/v1alpha1",
        "kind": "ServiceClass",
        "metadata": {"name": driver},
        "spec": {"claimKind": "PostgreSQL", "driver": driver, "parameters": parameters},
    }
    await kube.apply(rights(made), cls, database(driver, driver))
    await kube.says("PostgreSQL", driver, SPACE, "KindMissing")
    await kube.apply(*made.crds)
    stub = made()
    stub.image = IMAGE
    async with over_http(kube.client, stub, every=1.0):
        await kube.ready("PostgreSQL", driver, SPACE)
        given = await kube.secret(f"{driver}-postgresql-connection", SPACE)
        ask = "SELECT current_user, current_database(), ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
        assert await query(world, kube, given, ask) == f"{given['username']}|app|t"
        await query(world, kube, given, "CREATE TABLE notes (note text); INSERT INTO notes VALUES ('kept')")
        assert await query(world, kube, given, "SELECT note FROM notes") == "kept"
        assert await query(world, kube, given, "SELECT similarity('word', 'words') > 0.5") == "t"
        await kube.delete("Secret", f"{driver}-postgresql-connection", SPACE)
        await healed(kube, f"{driver}-postgresql-connection", given)
        await copied(world, kube, driver, given)
        for name in (driver, "copy"):
            await kube.delete("PostgreSQL", name, SPACE)
        for name in (driver, "copy"):
            await kube.gone("PostgreSQL", name, SPACE)
        await nothing_left(kube, made)
        assert stub.trouble == ""
    tell(f"{driver} (contract stub on a real PostgreSQL): provisioned, used over TLS, healed, copied, deleted")


async def copied(world: World, kube: Kube, driver: str, given: dict[str, str]) -> None:
    """A claim that begins with the data of another: it has that data, a password of its own, and a life of its own."""
    await kube.apply(database("copy", driver, source={"claim": {"name": driver}}))
    await kube.ready("PostgreSQL", "copy", SPACE)
    own = await kube.secret("copy-postgresql-connection", SPACE)
    assert (own["username"], own["database"]) == (given["username"], given["database"])
    assert own["password"] != given["password"]
    assert await query(world, kube, own, "SELECT note FROM notes") == "kept"
    theirs = given | {"uri": given["uri"].replace(given["host"], own["host"]), "ca.crt": own.get("ca.crt", "")}
    with pytest.raises(AssertionError, match="password authentication failed"):
        await query(world, kube, theirs, "SELECT 1")
    await query(world, kube, own, "INSERT INTO notes VALUES ('of the copy')")
    assert await query(world, kube, given, "SELECT note FROM notes") == "kept"


async def healed(kube: Kube, name: str, given: dict[str, str]) -> None:
    async def look() -> bool:
        found = await kube.find("Secret", name, SPACE)
        return found is not None and await kube.secret(name, SPACE) == given

    await until(look, f"the Secret {name} to come back as it was", 30)


async def nothing_left(kube: Kube, made: type[Contract]) -> None:
    async def look() -> bool:
        found = []
        for version, kind in made.kinds:
            found += await kube.items(await kube.client.discover(version, kind), SPACE)
        for kind in ("StatefulSet", "Pod", "PersistentVolumeClaim", "Service"):
            found += await kube.items(kind, SPACE)
        return found == []

    await until(look, f"nothing to be left in {SPACE}", 120)
