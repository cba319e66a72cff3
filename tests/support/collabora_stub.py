"""A contract stub of an application that serves others: no Collabora runs, but what libre.sh must know of one is here.

It stands for a package that a later distribution brings: its kind, its offer, and a component whose image nobody pulls.
"""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import ClassVar

import msgspec
import pytest

from libresh import apps
from libresh.api.appclaims import CollaboraClaim
from libresh.api.apps import APP_COLUMNS, APP_RULES, App, ServingSpec
from libresh.api.meta import Kind
from libresh.catalog.model import AnyPackage, Instance, Kept, Offer, Package, Parts, Probe, Process, Route, Secrets, Web
from libresh.catalog.releases import Release, build_releases
from libresh.catalog.settings import Settings
from libresh.plan.actions import From, Literal, Random, SecretKey, Value


class CollaboraStubSpec(ServingSpec):
    """An office suite (contract stub)."""


class CollaboraStub(App):
    """An office suite (contract stub)."""

    KIND: ClassVar[Kind] = Kind(
        group="apps.libre.sh", kind="Collabora", plural="collaboras", columns=APP_COLUMNS, rules=APP_RULES
    )

    spec: CollaboraStubSpec = msgspec.field(default_factory=CollaboraStubSpec)


def parts(office: Instance[CollaboraStubSpec]) -> Parts:
    probe = Probe(port="http", path="/")
    process = Process(office.image("collabora"), ports={"http": 9980}, startup=probe, readiness=probe, liveness=probe)
    return Parts(
        components=(Web("web", process),),
        secrets=(Secrets("admin", {"password": Random()}, kept=True),),
        routes=(Route(office.spec.host or "", "web", "http"),),
    )


def connection(app: App, spec: CollaboraStubSpec, settings: Settings) -> Mapping[str, Value]:
    """What those who use it are told."""
    host = f"{app.name}-web.{app.namespace}.svc"
    return {
        "host": Literal(host),
        "port": Literal("9980"),
        "uri": Literal(f"http://{host}:9980"),
        "url": Literal(f"https://{spec.host}"),
        "username": Literal("admin"),
        "password": From(SecretKey(app.namespace, f"{app.name}-admin", "password")),
    }


PACKAGE: Package[CollaboraStubSpec] = Package(
    name="collabora",
    title="Collabora (contract stub)",
    kind=CollaboraStub,
    releases=build_releases([Release(version="25.4", images={"collabora": "25.4"})]),
    needs=lambda app, spec: (),
    parts=parts,
    kept=(Kept("Secret", "admin", "the password of the administration console"),),
    offer=Offer(CollaboraClaim, connection),
)


def installed() -> AbstractContextManager[None]:
    """As if a distribution beside the operator brought the package."""
    return brought((PACKAGE, "the contract stub"))


def absent() -> AbstractContextManager[None]:
    """As if no other distribution brought any package."""
    return brought()


@contextmanager
def brought(*packages: tuple[AnyPackage, str]) -> Iterator[None]:
    """As if other distributions brought just these."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(apps, "brought", lambda: list(packages))
        apps.packages.cache_clear()
        yield
    apps.packages.cache_clear()
