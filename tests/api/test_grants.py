"""Whom a grant allows."""

from typing import Any

import msgspec
import pytest

from libresh.api.grants import AllowedNamespaces

PAID = {"tier": "paid", "kubernetes.io/metadata.name": "acme"}

CASES: dict[str, tuple[dict[str, Any], dict[str, str], bool]] = {
    "nothing is said": ({}, PAID, False),
    "all": ({"all": True}, {}, True),
    "by name": ({"names": ["other", "acme"]}, {}, True),
    "another name": ({"names": ["acme-2"]}, {}, False),
    "by label": ({"matchLabels": {"tier": "paid"}}, PAID, True),
    "another value": ({"matchLabels": {"tier": "free"}}, PAID, False),
    "one label of two": ({"matchLabels": {"tier": "paid", "eu": "yes"}}, PAID, False),
    "no label allows none, unlike a selector of Kubernetes": ({"matchLabels": {}}, PAID, False),
    "name or label": ({"names": ["acme"], "matchLabels": {"tier": "free"}}, PAID, True),
}


@pytest.mark.parametrize(("grant", "labels", "allowed"), CASES.values(), ids=CASES)
def test_allow(grant: dict[str, Any], labels: dict[str, str], allowed: bool) -> None:
    assert msgspec.convert(grant, AllowedNamespaces).allow("acme", labels) is allowed
