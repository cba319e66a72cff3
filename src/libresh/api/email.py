"""SMTPAccount: a claim to a way to send mail."""

from typing import Annotated, ClassVar

import msgspec

from libresh.api.changes import Change
from libresh.api.claims import CLAIM_RULES, COLUMNS, Claim, ClaimSpec
from libresh.api.meta import Column, Kind, Struct

Address = Annotated[
    str,
    msgspec.Meta(
        max_length=254,
        pattern=r"^[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+$",
        extra={"message": "must be a bare mail address such as chat@example.org, without a name or angle brackets"},
    ),
]


class SMTPAccountParameters(Struct):
    """What the account must be able to do."""

    CHANGES: ClassVar[tuple[Change, ...]] = (
        Change("sender", "allowed", "the connection says the new address; mail under way keeps the old one"),
    )

    sender: Annotated[
        Address | None,
        msgspec.Meta(description="The address mail is sent from. Absent: the claim's name at the class's domain."),
    ] = None


class SMTPAccountSpec(ClaimSpec):
    """An account, and how it is to be served."""

    parameters: SMTPAccountParameters = msgspec.field(default_factory=SMTPAccountParameters)


class SMTPAccount(Claim):
    """A claim to a way to send mail.

    Whoever provides it, the connection secret has the keys type, provider, host, port, tls (none, starttls or
    tls), sender and uri, and username and password unless the server takes mail without.
    """

    KIND: ClassVar[Kind] = Kind(
        group="email.libre.sh",
        kind="SMTPAccount",
        plural="smtpaccounts",
        short=("smtp",),
        columns=(*COLUMNS[:3], Column("Sender", ".spec.parameters.sender", priority=1), *COLUMNS[3:]),
        rules=CLAIM_RULES,
    )

    spec: SMTPAccountSpec = msgspec.field(default_factory=SMTPAccountSpec)
