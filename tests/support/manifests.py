"""libre.sh's own CustomResourceDefinitions, as committed in deploy/."""

from functools import cache
from pathlib import Path
from typing import Any

import yaml

DEPLOY = Path(__file__).parents[2] / "deploy"


@cache
def crds() -> tuple[dict[str, Any], ...]:
    """Every committed CustomResourceDefinition. Do not change what is returned: it is shared."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    found: list[dict[str, Any]] = []
    for path in sorted((DEPLOY / "crds").glob("*.yaml")):
        found += [document for document in yaml.load_all(path.read_text(), Loader=loader) if document]
    return tuple(found)
