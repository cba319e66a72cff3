"""What claims and applications require of the services behind them, held against what these can do."""

from collections.abc import Iterable

CAPABILITY_MISSING = "CapabilityMissing"
"""More is required than the class promises, or the service can do."""


def short_of(required: Iterable[str] | None, able: Iterable[str]) -> str:
    """What is required and cannot be done, in words; "" where nothing is lacking."""
    return ", ".join(sorted({*(required or ())} - {*able}))
