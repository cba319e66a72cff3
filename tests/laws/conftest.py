"""What all laws share: none waits for long."""

import pytest

from libresh.kube import composed, foreign


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is waited for without being told comes round sooner."""
    monkeypatch.setattr(composed, "LOOK_AGAIN", composed.LOOK_AGAIN / 100)
    monkeypatch.setattr(composed, "FORGET", 0.1)
    monkeypatch.setattr(foreign, "PATIENCE", 0.1)
