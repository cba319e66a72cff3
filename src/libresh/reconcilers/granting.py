"""Grants as reconcilers see them: which namespaces an owner lets use an object."""

from collections.abc import Iterable, Mapping

from libresh.api.grants import AllowedNamespaces
from libresh.plan.actions import Ref
from libresh.ports import Reader, Watched

NOT_GRANTED = "NotGranted"
"""What is referred to is another namespace's, or restricted, and its owner does not allow this namespace."""
NAMESPACES = Watched("Namespace", managed=False, metadata=True)
"""For grants by labels."""


async def observe_labels(
    namespace: str, grants: Iterable[AllowedNamespaces | None], reader: Reader
) -> Mapping[str, str]:
    """The labels of a namespace, where a grant asks for them: otherwise nobody need be woken by their change."""
    if not any(grant is not None and grant.match_labels for grant in grants):
        return {}
    found = await reader.get(Ref("Namespace", namespace)) or {}
    labels: Mapping[str, str] = found.get("metadata", {}).get("labels") or {}
    return labels
