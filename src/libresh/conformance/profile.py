"""What the suite asks of each kind of claim: a small one, a larger one, mistakes, and what proves its credentials."""

from dataclasses import dataclass, field
from typing import Any

from libresh.api.cache import Redis
from libresh.api.claims import Claim
from libresh.api.database import PostgreSQL
from libresh.api.email import SMTPAccount
from libresh.api.identity import OIDCClient
from libresh.api.objectstore import Bucket
from libresh.drivers.connection import TYPES

REDIRECT = "https://conformance.example.org/callback"


@dataclass(frozen=True)
class Profile:
    """One kind of claim."""

    type: type[Claim]
    parameters: dict[str, Any]
    """Of a small claim."""
    proof: tuple[str, ...]
    """The keys that prove who one is: with those of another claim, or spoilt, nobody may be let in."""
    own: tuple[str, ...]
    """The keys that no two claims may have in common."""
    bad: tuple[tuple[dict[str, Any], str], ...]
    """Parameters that must be refused, and the field that must be named."""
    grown: dict[str, Any] = field(default_factory=dict)
    """Parameters of the same claim made larger."""
    data: bool = False
    """Whether what is written must be there again later."""

    @property
    def kind(self) -> str:
        return self.type.KIND.kind

    @property
    def secret_type(self) -> str:
        return f"servicebinding.io/{TYPES[self.kind]}"


def bad_size(field: str, small: str = "") -> tuple[tuple[dict[str, Any], str], ...]:
    """Sizes that are none."""
    wrong = ["0Gi", "-1Gi", "much", *([small] if small else [])]
    return tuple(({field: value}, f"spec.parameters.{field}") for value in wrong)


PROFILES: dict[str, Profile] = {
    profile.kind: profile
    for profile in (
        Profile(
            type=PostgreSQL,
            parameters={"storage": "512Mi"},
            grown={"storage": "1Gi"},
            proof=("username", "password"),
            own=("password",),
            bad=(
                *bad_size("storage", "1Mi"),
                ({"version": "9.6"}, "spec.parameters.version"),
                ({"extensions": ["pg_trgm; DROP TABLE x"]}, "spec.parameters.extensions"),
                ({"locale": ""}, "spec.parameters.locale"),
            ),
            data=True,
        ),
        Profile(
            type=Redis,
            parameters={"memory": "16Mi", "persistence": True},
            grown={"memory": "32Mi", "persistence": True},
            proof=("username", "password"),
            own=("password",),
            bad=(*bad_size("memory"), ({"persistence": "yes"}, "spec.parameters.persistence")),
            data=True,
        ),
        Profile(
            type=Bucket,
            parameters={"storage": "256Mi"},
            grown={"storage": "512Mi"},
            proof=("access-key-id", "secret-access-key"),
            own=("access-key-id", "secret-access-key"),
            bad=(*bad_size("storage"), ({"versioning": "yes"}, "spec.parameters.versioning")),
            data=True,
        ),
        Profile(
            type=SMTPAccount,
            parameters={"sender": "conformance@example.org"},
            proof=("password",),
            own=("username", "password"),
            bad=(
                ({"sender": "Conformance <c@example.org>"}, "spec.parameters.sender"),
                ({"sender": "nobody"}, "spec.parameters.sender"),
            ),
        ),
        Profile(
            type=OIDCClient,
            parameters={"redirectUris": [REDIRECT]},
            proof=("client-secret",),
            own=("client-id", "client-secret"),
            bad=(
                ({"redirectUris": []}, "spec.parameters.redirectUris"),
                ({"redirectUris": ["https://*.example.org/"]}, "spec.parameters.redirectUris"),
                ({"redirectUris": ["javascript:alert(1)"]}, "spec.parameters.redirectUris"),
                ({}, "spec.parameters.redirectUris"),
            ),
        ),
    )
}
"""Every kind of claim, by its name."""
