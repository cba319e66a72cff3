"""Measurements of libre.sh, each beside a baseline in the same run. `python -m bench --help`."""

import sys
from pathlib import Path

for folder in (Path(__file__).resolve().parents[1] / name for name in ("src", "tests")):
    if str(folder) not in sys.path:
        sys.path.append(str(folder))  # the operator, and the API servers that the tests use
