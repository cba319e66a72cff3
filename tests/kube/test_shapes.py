"""What the API server may answer with, and what is made of it."""

import msgspec
import pytest

from libresh.kube.kinds import KindInfo
from libresh.kube.objects import Shape


def test_labels_that_are_null_are_none() -> None:
    shape = Shape(KindInfo("ConfigMap", "v1", "configmaps"))
    entry = shape.entry(b'{"metadata":{"name":"a","labels":null,"resourceVersion":"7"},"data":{"x":"1"}}')
    assert entry.meta.labels == {}
    assert entry.version == 7


def test_what_is_really_wrong_is_said() -> None:
    shape = Shape(KindInfo("ConfigMap", "v1", "configmaps"))
    with pytest.raises(msgspec.ValidationError):
        shape.entry(b'{"metadata":{"name":1}}')
