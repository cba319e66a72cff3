"""`libresh class import`: a class of a Crossplane Composition, and the rights the operator needs for it."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import click
import yaml

from libresh.api.services import ClaimKind
from libresh.cli import access, applying, manifests, output
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
    plurals = {kind: each.plural for kind in kinds for each in known.KNOWN if is_of(each, kind)}
    if dry_run:
        documents = [made, *build_rights(made, plurals)]
        click.echo(output_of(documents, form))
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
    try:
        documents = [each for each in yaml.safe_load_all(file.read_text()) if each is not None]
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise LibreshError("bad-yaml", f"{file} is not YAML: {error}", "correct it") from None
    if len(documents) != 1:
        raise LibreshError(
            "several-documents", f"{file} holds {len(documents)} documents", "give one Composition to a file"
        )
    return documents[0]


def is_of(each: known.Known, kind: tuple[str, str]) -> bool:
    return (each.group, each.kind) == (kind[0].rpartition("/")[0], kind[1])


def output_of(documents: Sequence[Object], form: str) -> str:
    """Manifests for people and kubectl, or as JSON."""
    if form == output.JSON:
        return json.dumps({"apiVersion": "v1", "kind": "List", "items": documents}, indent=2, ensure_ascii=False)
    return manifests.dump(list(documents)).rstrip()


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
