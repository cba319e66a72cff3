"""The operator: what it consists of, and how it starts in a pod or on a person's own machine.

Environment: LIBRESH_IMAGE_PREFIX, LIBRESH_DOMAIN, LIBRESH_CA_CONFIG_MAP (`namespace/name`), LIBRESH_LOG_LEVEL,
LIBRESH_LOG_FORMAT (`json` or `text`), LIBRESH_METRICS_PORT, POD_NAMESPACE, POD_NAME. Without a pod around it, it uses
the kubeconfig and stops cleanly on an interrupt.
"""

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from libresh import apps
from libresh.api import APP_CLAIMS, CLAIMS, KINDS
from libresh.api.meta import Resource
from libresh.catalog.settings import Settings
from libresh.errors import LibreshError, Unavailable
from libresh.kube.auth import find_access
from libresh.kube.client import Client
from libresh.kube.kinds import Kinds
from libresh.ports import Reconciler
from libresh.reconcilers.app import AppReconciler
from libresh.reconcilers.appclaim import AppClaimReconciler
from libresh.reconcilers.appprofile import AppProfileReconciler
from libresh.reconcilers.claim import ClaimReconciler
from libresh.reconcilers.serviceclass import ServiceClassReconciler
from libresh.runtime import logs
from libresh.runtime.manager import Manager

log = logging.getLogger(__name__)

PORT = 8080
"""Health, readiness and metrics."""


def types() -> tuple[type[Resource], ...]:
    """Every kind of ours, applications included."""
    return (*KINDS, *apps.claims(), *apps.kinds())


def reconcilers(settings: Settings) -> tuple[Reconciler[Any], ...]:
    """What the operator runs."""
    return (
        *(ClaimReconciler(kind, settings) for kind in CLAIMS),
        *(AppClaimReconciler(kind, settings) for kind in (*APP_CLAIMS, *apps.claims())),
        ServiceClassReconciler(settings),
        AppProfileReconciler(),
        *(AppReconciler(package, settings) for package in apps.packages().values()),
    )


def settings_from(environment: Mapping[str, str]) -> Settings:
    """What the operator was told at start."""
    given = {
        "image_prefix": environment.get("LIBRESH_IMAGE_PREFIX"),
        "domain": environment.get("LIBRESH_DOMAIN"),
        "ca_config_map": environment.get("LIBRESH_CA_CONFIG_MAP"),
        "system_namespace": environment.get("POD_NAMESPACE"),
    }
    return replace(Settings(), **{name: value for name, value in given.items() if value})


async def with_authority(client: Client, settings: Settings) -> Settings:
    """The settings with what the ConfigMap of the cluster's own authority holds."""
    if not settings.ca_config_map:
        return settings
    namespace, _, name = settings.ca_config_map.partition("/")
    while True:
        with contextlib.suppress(Unavailable):
            found = await client.get("ConfigMap", name, namespace)
            bundle = (found or {}).get("data", {}).get("ca.crt", "")
            if bundle:
                return replace(settings, ca_bundle=bundle)
        log.info("waiting for the ConfigMap %s with key ca.crt", settings.ca_config_map)
        await asyncio.sleep(2)


async def with_identity(client: Client, settings: Settings) -> Settings:
    """The settings with what tells this cluster from others: the uid of a namespace that all have, for ever."""
    while True:
        with contextlib.suppress(Unavailable):
            found = await client.get("Namespace", "kube-system")
            if found:
                return replace(settings, cluster=found["metadata"]["uid"])
        log.info("waiting for the namespace kube-system")
        await asyncio.sleep(2)


async def run(settings: Settings, environment: Mapping[str, str]) -> None:
    """Runs until SIGTERM or SIGINT."""
    async with Client(find_access(), Kinds(types())) as client:
        settings = await with_identity(client, await with_authority(client, settings))
        manager = Manager(
            client,
            reconcilers(settings),
            identity=environment.get("POD_NAME", ""),
            namespace=settings.system_namespace,
            metrics_port=int(environment.get("LIBRESH_METRICS_PORT", PORT)),
        )
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, manager.stop)
        await manager.run()


def main() -> None:
    """The entry point `libresh-operator`."""
    environment = os.environ
    logs.set_up(environment.get("LIBRESH_LOG_LEVEL", "info"), json=environment.get("LIBRESH_LOG_FORMAT") != "text")
    try:
        asyncio.run(run(settings_from(environment), environment))
    except LibreshError as error:
        log.error("%s", error)
        sys.exit(1)


if __name__ == "__main__":
    main()
