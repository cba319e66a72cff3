"""The published schema of connection secrets: one per kind of claim, whatever the driver (servicebinding.io)."""

from libresh.api.connection import COMMON, Schema

AUTHORITY = {"ca.crt": "the authority that signed the server's certificate, where it is no public one"}

SCHEMAS: dict[str, Schema] = {
    "PostgreSQL": Schema(
        type="postgresql",
        required={
            **COMMON,
            "database": "the database",
            "username": "the role, which owns the database",
            "password": "its password",
            "uri": "all of it: postgresql://username:password@host:port/database",
        },
        optional={
            "sslmode": "how to use TLS, as libpq has it: disable, prefer, require, verify-ca or verify-full",
            "sslrootcert": "system, as libpq has it, where sslmode is verify-full and the authority is a public one",
            **AUTHORITY,
        },
    ),
    "Redis": Schema(
        type="redis",
        required={
            **COMMON,
            "username": "the user",
            "password": "its password",
            "uri": "all of it: redis://username:password@host:port/0, rediss:// with TLS",
        },
        optional={
            "prefix": "what the names of all keys and channels must begin with, where the server is shared",
            "tls": "true where the server speaks TLS only; otherwise absent or false",
            "tls-verify": "true where its certificate is to be the host's, of ca.crt or of a public authority",
            **AUTHORITY,
        },
    ),
    "Bucket": Schema(
        type="s3",
        required={
            **COMMON,
            "endpoint": "the address of the S3 server, http:// or https://",
            "region": "the region to sign requests for",
            "bucket": "the bucket",
            "access-key-id": "the key's name",
            "secret-access-key": "the key",
            "uri": "all of it: s3://access-key-id:secret-access-key@host:port/bucket",
        },
        optional={
            "path-style": "false where the bucket's name comes before the host; otherwise absent: it comes after it",
            **AUTHORITY,
        },
    ),
    "SMTPAccount": Schema(
        type="smtp",
        required={
            **COMMON,
            "tls": "none, starttls or tls",
            "sender": "the address mail is sent from",
            "uri": "all of it: smtp://username:password@host:port, smtps:// with TLS",
        },
        optional=AUTHORITY,
        together={
            "username": "the account; absent where the server takes mail without one",
            "password": "its password",
        },
        version="v2",
    ),
    "OIDCClient": Schema(
        type="oidc",
        required={
            **COMMON,
            "issuer": "the provider, as in its tokens",
            "client-id": "the client",
            "client-secret": "its secret",
            "uri": "the provider's address",
        },
        optional=AUTHORITY,
    ),
}
"""The keys of every kind of claim. A provider that yields less than the required ones is not Ready."""

REQUIRED: dict[str, tuple[str, ...]] = {kind: tuple(schema.required) for kind, schema in SCHEMAS.items()}
"""The keys every connection secret of a kind of claim has."""

OPTIONAL: dict[str, tuple[str, ...]] = {kind: (*schema.together, *schema.optional) for kind, schema in SCHEMAS.items()}
"""The keys that are there where the service has what they say, by the same names whoever provides it."""

USUAL: dict[str, tuple[str, ...]] = {kind: (*schema.required, *schema.together) for kind, schema in SCHEMAS.items()}
"""The keys that a connection secret has, unless its service can do without some."""

TYPES = {kind: schema.type for kind, schema in SCHEMAS.items()}
"""The `type` key of each, as servicebinding.io has it; the Secret's own type is `servicebinding.io/<type>`."""


def missing_keys(claim_kind: str, keys: frozenset[str]) -> tuple[str, ...]:
    """The required keys that are not there, in the schema's order."""
    return SCHEMAS[claim_kind].missing(keys)
