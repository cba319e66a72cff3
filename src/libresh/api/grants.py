"""Grants: which namespaces besides its own may use an object. Said on the object, by its owner; default is none."""

from collections.abc import Mapping
from typing import Annotated

import msgspec

from libresh.api.meta import FORBIDDEN, Rule, Struct

NamespaceName = Annotated[
    str,
    msgspec.Meta(
        min_length=1,
        max_length=63,
        pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
        extra={"message": "must be the name of a namespace: lower-case letters, digits and hyphens"},
    ),
]
LabelValue = Annotated[str, msgspec.Meta(max_length=63)]


class AllowedNamespaces(Struct):
    """The namespaces that may use this object: each that `names` or `matchLabels` fits, or all of them."""

    RULES = (
        Rule(
            "!has(self.all) || !self.all || ((!has(self.names) || self.names.size() == 0) && "
            "(!has(self.matchLabels) || self.matchLabels.size() == 0))",
            "all: true already allows every namespace: take it out, or take out names and matchLabels",
            field=".all",
            reason=FORBIDDEN,
        ),
    )

    all: Annotated[bool, msgspec.Meta(description="Every namespace, also those that are made later.")] = False
    names: Annotated[
        list[NamespaceName],
        msgspec.Meta(
            max_length=256,
            description="Namespaces by name.",
            extra_json_schema={"x-kubernetes-list-type": "set"},
        ),
    ] = []
    match_labels: Annotated[
        dict[str, LabelValue],
        msgspec.Meta(
            max_length=16,
            description="Namespaces that have all of these labels. Who may label namespaces gives the grant. Without "
            "any label it allows none.",
        ),
    ] = {}

    def allow(self, namespace: str, labels: Mapping[str, str]) -> bool:
        """Whether a namespace with these labels may use the object."""
        if self.all or namespace in self.names:
            return True
        return bool(self.match_labels) and self.match_labels.items() <= labels.items()
