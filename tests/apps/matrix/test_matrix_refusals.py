"""What the Matrix package refuses that no schema can see."""

import msgspec

from libresh.api.meta import ObjectMeta
from libresh.apps.matrix.package import PACKAGE, refuse
from libresh.apps.matrix.spec import Matrix, MatrixSpec, WebClientSpec


def test_a_web_client_that_the_release_lacks() -> None:
    release = PACKAGE.releases.choose(None)
    assert release is not None
    without = msgspec.structs.replace(release, images={"synapse": release.images["synapse"]})
    spec = MatrixSpec(host="chat.example.org", web_client=WebClientSpec(host="web.example.org"))
    app = Matrix(metadata=ObjectMeta(name="chat", namespace="acme"), spec=spec)
    assert refuse(app, spec, release) is None
    refused = refuse(app, spec, without)
    assert refused is not None
    assert refused.reason == "WebClientUnavailable"
    assert "use any Matrix client with https://chat.example.org" in refused.message
