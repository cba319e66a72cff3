"""`libresh class import`: a class of a Crossplane Composition, and the rights the operator needs for it."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import click

from libresh.api.services import ClaimKind
from libresh.cli import access, applying, documents, manifests, output
from libresh.cli.access import Target
from libresh.cli.manifests import operator, rbac
from libresh.drivers.composition import importing, known
from libresh.errors import LibreshError
from libresh.kube.client import Client
from libresh.kube.errors import NotFound
from libresh.plan import naming
from libresh.plan.actions import Object


@click.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--name", default="", help="The name of the class; absent: that of the composition.")
@click.option(
    "--claim-kind",
    type=click.Choice(get_args(ClaimKind)),
    help="The kind of claim it serves; absent: as the composite's API group says.",
)
@click.option("--dry-run", is_flag=True, help="Only print the manifests; no cluster is asked.")
@output.output_option
@access.cluster_options
def import_class(target: Target, form: str, file: Path, name: str, claim_kind: str | None, dry_run: bool) -> None:
    """Make a class of a Crossplane Composition, and give the operator the rights it needs.

    Claims then name it by className or compositionRef. What libre.sh does not support is refused, by its path.
    """
    made = importing.build_class(read_document(file), name=name, claim_kind=claim_kind or "")
    kinds = importing.composed_kinds(made)
    plurals = {kind: each.plural for kind in kinds if (each := known.find({"apiVersion": kind[0], "kind": kind[1]}))}
    if dry_run:
        click.echo(output_of([made, *build_rights(made, plurals)], form))
    else:
        plurals |= access.run(lambda client: apply_class(client, made, kinds, plurals), target)
        output.show(form, made, f"ServiceClass {made['metadata']['name']} serves {made['spec']['claimKind']}.")
    for api_version, kind in kinds:
        if (api_version, kind) not in plurals:
            click.echo(
                f"The rights to {kind} of {api_version} are still to be given: repeat this once the operator that "
                "serves it is installed",
                err=True,
            )


def read_document(file: Path) -> object:
    """The one document of a YAML file."""
    found = documents.read(str(file), file.read_bytes())
    for each in found:
        if each.broken:
            raise LibreshError("bad-yaml", f"{file}, {each.place}: {each.broken}", each.way_out)
    if len(found) != 1:
        raise LibreshError(
            "several-documents", f"{file} holds {len(found)} documents", "give one Composition to a file"
        )
    return found[0].content


def output_of(made: Sequence[Object], form: str) -> str:
    """Manifests for people and kubectl, or as JSON."""
    if form == output.JSON:
        return json.dumps({"apiVersion": "v1", "kind": "List", "items": made}, indent=2, ensure_ascii=False)
    return manifests.dump(list(made)).rstrip()


def build_rights(cls: Object, plurals: dict[tuple[str, str], str]) -> list[Object]:
    """The ClusterRole that lets the operator make what the class says; it joins the operator's own by its label."""
    rights = {
        right
        for (api_version, _), plural in plurals.items()
        for right in rbac.composed_rights(api_version.rpartition("/")[0], plural)
    }
    if not rights:
        return []
    labels = operator.labels() | {naming.RIGHTS_LABEL: "true"}
    return [rbac.build_cluster_role(f"{operator.COMPOSED}-{cls['metadata']['name']}", rights, labels)]


async def apply_class(
    client: Client, made: Object, kinds: Sequence[tuple[str, str]], plurals: dict[tuple[str, str], str]
) -> dict[tuple[str, str], str]:
    """Applies class and rights. Returns the plurals of the kinds that the API server serves."""
    found = dict(plurals)
    for api_version, kind in kinds:
        info = await client.find_kind(api_version, kind)
        if info is not None:
            found[api_version, kind] = info.plural
    for obj in (*build_rights(made, found), made):
        try:
            await applying.apply(client, obj)
        except NotFound as error:
            raise LibreshError("not-installed", "The cluster knows no ServiceClass", "libresh install") from error
    return found
