"""`libresh install` and `libresh uninstall`: the operator into a cluster, and out of it without touching data."""

import re
from collections.abc import Callable
from typing import Any

import click

from libresh.api.services import ServiceClass
from libresh.catalog.settings import Settings
from libresh.cli import access, applying, manifests, output, overview
from libresh.cli.access import Target
from libresh.cli.manifests import Installation, discovery, operator
from libresh.errors import LibreshError
from libresh.kube.client import Client
from libresh.kube.errors import AlreadyExists
from libresh.plan import observed
from libresh.plan.actions import Object

OLDEST_KUBERNETES = (1, 30)
"""Since when admission policies, and the CEL our schemas use, are in every cluster."""
PATIENCE = 180.0
CRD_PATIENCE = 30.0
Say = Callable[[str], None]


def quiet(text: str) -> None:
    """Says nothing."""


@click.command()
@click.option("--image-prefix", metavar="P", default=Settings.image_prefix, show_default=True, help="Where images are.")
@click.option("--image", metavar="REF", default="", help="The operator's image, if not the one below the prefix.")
@click.option(
    "--domain", metavar="D", default=Settings.domain, show_default=True, help="What class servers' names end in."
)
@click.option(
    "--ca-config-map", metavar="NS/NAME", default="", help="A ConfigMap whose ca.crt pods shall trust besides."
)
@click.option("--replicas", type=click.IntRange(1, 5), default=1, show_default=True, help="2 to survive losing a node.")
@click.option("--dry-run", is_flag=True, help="Print the manifests and change nothing.")
@click.option("--no-classes", is_flag=True, help="Make no default ServiceClasses.")
@click.option("--no-wait", is_flag=True, help="Do not wait until the operator is ready.")
@output.output_option
@access.cluster_options
def install(target: Target, form: str, dry_run: bool, no_classes: bool, no_wait: bool, **options: Any) -> None:
    """Install the operator into the cluster of the current kubeconfig, or bring it up to date.

    Repeating it is safe: what is there stays as it is. Data is never touched.
    """
    installation = read_options(**options)
    if dry_run:
        classes = [] if no_classes else manifests.build_classes()
        show_manifests([*manifests.build_all(installation), *classes], form)
        return
    say: Say = quiet if form == output.JSON else click.echo
    say(f"Installing libre.sh into {target.access().server} ({target.described})")

    async def work(client: Client) -> dict[str, Any]:
        return await perform(client, installation, classes=not no_classes, wait=not no_wait, say=say)

    done = access.run(work, target)
    if form == output.JSON:
        output.show_json(done)
    else:
        click.echo("libre.sh is installed. Next: kubectl apply -f examples/matrix.yaml, then: libresh status")


def read_options(image_prefix: str, image: str, domain: str, ca_config_map: str, replicas: int) -> Installation:
    """The installation that the options describe."""
    if ca_config_map and not re.fullmatch(r"[^/]+/[^/]+", ca_config_map):
        raise LibreshError(
            "ca-config-map", f"--ca-config-map: {ca_config_map!r} is not NAMESPACE/NAME", "e.g. default/my-ca"
        )
    settings = Settings(image_prefix=image_prefix.rstrip("/"), domain=domain, ca_config_map=ca_config_map)
    return Installation(settings=settings, replicas=replicas, image=image)


def show_manifests(documents: list[Object], form: str) -> None:
    if form == output.JSON:
        output.show_json({"apiVersion": "v1", "kind": "List", "items": documents})
    else:
        click.echo(manifests.dump(documents), nl=False)


async def perform(client: Client, installation: Installation, *, classes: bool, wait: bool, say: Say) -> dict[str, Any]:
    """Install, step by step. Each step may be repeated at any time."""
    await check_version(client)
    applying.learn_kinds(client)
    await install_definitions(client, installation, say)
    made = await install_classes(client) if classes else []
    if made:
        say(f"default classes: {', '.join(made)}")
    await install_operator(client, installation, say)
    if wait:
        say("waiting for the operator")
        await wait_for_operator(client, installation.namespace, once(say))
    return {"namespace": installation.namespace, "image": installation.operator_image, "classes": made, "ready": wait}


def once(say: Say) -> Say:
    """Says only what differs from what it said last."""
    last = ""

    def told(text: str) -> None:
        nonlocal last
        if text != last:
            last = text
            say(f"  {text}")

    return told


async def check_version(client: Client) -> None:
    """Refuse a Kubernetes that lacks what we stand on."""
    version = await client.version()
    digits = [re.sub(r"\D.*", "", str(version.get(part, ""))) for part in ("major", "minor")]
    if all(digits) and (int(digits[0]), int(digits[1])) < OLDEST_KUBERNETES:
        wanted = ".".join(map(str, OLDEST_KUBERNETES))
        raise LibreshError(
            "kubernetes-too-old",
            f"{client.access.server} runs Kubernetes {version.get('gitVersion')}; libre.sh needs {wanted} or newer",
            "update the cluster first",
        )


async def install_definitions(client: Client, installation: Installation, say: Say) -> None:
    """Namespace, kinds and policies; returns when the API server serves the kinds."""
    crds = manifests.build_crds()
    say(f"namespace {installation.namespace}, {len(crds)} kinds")
    await applying.apply_all(client, [operator.build_namespace(installation), *crds])
    names = [str(crd["metadata"]["name"]) for crd in crds]
    await applying.wait_until(
        lambda: applying.established(client, names), CRD_PATIENCE, "The kinds are not served", "kubectl describe crd"
    )
    await applying.apply_all(client, manifests.build_policies())


async def install_classes(client: Client) -> list[str]:
    """Default classes for the kinds of claims that have none; those that exist are left as they are."""
    there = await client.list(ServiceClass.KIND.kind)
    made = []
    for cls in manifests.build_classes({found["spec"]["claimKind"] for found in there}):
        try:
            await client.create(cls)
        except AlreadyExists:
            continue
        made.append(str(cls["metadata"]["name"]))
    return made


async def install_operator(client: Client, installation: Installation, say: Say) -> None:
    """Rights and workload."""
    say(f"operator {installation.operator_image}")
    await applying.apply_all(client, manifests.build_rbac(installation))
    await applying.apply_all(client, operator.build_workload(installation))
    if installation.replicas < 2:
        await client.delete("PodDisruptionBudget", operator.NAME, installation.namespace)


async def wait_for_operator(client: Client, namespace: str, say: Say = quiet, patience: float = PATIENCE) -> None:
    """Until the Deployment runs what it shall run; what keeps it from that is told."""

    async def look() -> str:
        trouble = await operator_trouble(client, namespace)
        if trouble:
            say(trouble)
        return trouble

    hint = f"libresh logs operator; libresh kubectl -n {namespace} describe pods"
    await applying.wait_until(look, patience, "The operator is not ready", hint)


async def operator_trouble(client: Client, namespace: str) -> str:
    """Why the operator does not run as it should, "" if it does."""
    deployment = await client.get("Deployment", operator.NAME, namespace)
    if deployment is None:
        return f"Deployment {namespace}/{operator.NAME} does not exist"
    if observed.is_rolled_out(deployment, observed.replicas_of(deployment)):
        return ""
    pods = await client.list("Pod", namespace, labels=operator.selector())
    for condition in observed.status_of(deployment).get("conditions", ()):
        if condition["type"] == "ReplicaFailure" and condition["status"] == "True":
            return str(condition.get("message", "its pods cannot be made"))
    return overview.trouble_of_operator(pods) or "its pod starts"


@click.command()
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--namespace", default=Settings.system_namespace, show_default=True, help="Where the operator is.")
@output.output_option
@access.cluster_options
def uninstall(target: Target, form: str, yes: bool, namespace: str) -> None:
    """Take the operator out of a cluster. Applications keep running; their objects, kinds and data stay.

    Nothing is looked after any more until `libresh install` is run again.
    """
    if not yes:
        click.confirm(f"Remove the operator from {target.access().server}? Apps and data stay.", abort=True, err=True)

    async def work(client: Client) -> list[str]:
        return await remove_operator(client, namespace)

    removed = access.run(work, target)
    if form == output.JSON:
        output.show_json({"removed": removed})
    else:
        click.echo(f"Removed: {', '.join(removed) or 'nothing, it was not installed'}. Kinds, objects and data stay.")


async def remove_operator(client: Client, namespace: str) -> list[str]:
    """Remove workload and rights, unless something waits for the operator to let it go."""
    if waiting := await deleting_objects(client):
        raise LibreshError(
            "deletion-under-way",
            f"These are being deleted, and only the operator can finish that: {', '.join(waiting)}",
            "wait until they are gone (libresh status), then repeat",
        )
    applying.learn_kinds(client)
    installation = Installation(settings=Settings(system_namespace=namespace), replicas=2)
    removed = []
    objects = (*operator.build_workload(installation), *manifests.build_rbac(installation))
    for obj in objects:
        kind = client.kinds.name_of(obj["apiVersion"], obj["kind"])
        gone = await client.delete(kind, obj["metadata"]["name"], obj["metadata"].get("namespace", ""))
        if gone is not None:
            removed.append(f"{kind} {obj['metadata']['name']}")
    return removed


async def deleting_objects(client: Client) -> list[str]:
    """Objects of ours that wait for their finaliser."""
    found = []
    for type in discovery.types():
        if not await applying.served(client, type.KIND.kind):
            continue
        for obj in await client.list(type.KIND.kind):
            if obj["metadata"].get("deletionTimestamp"):
                namespace = obj["metadata"].get("namespace", "")
                found.append(f"{type.KIND.kind} {namespace}/{obj['metadata']['name']}".replace(" /", " "))
    return found
