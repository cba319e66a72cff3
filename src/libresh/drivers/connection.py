"""The published schema of connection secrets: one per kind of claim, whatever the driver (servicebinding.io)."""

REQUIRED: dict[str, tuple[str, ...]] = {
    "PostgreSQL": ("type", "provider", "host", "port", "database", "username", "password", "uri"),
    "Redis": ("type", "provider", "host", "port", "username", "password", "uri"),
    "Bucket": (
        "type",
        "provider",
        "host",
        "port",
        "endpoint",
        "region",
        "bucket",
        "access-key-id",
        "secret-access-key",
        "uri",
    ),
    "SMTPAccount": ("type", "provider", "host", "port", "tls", "username", "password", "sender", "uri"),
    "OIDCClient": ("type", "provider", "host", "port", "issuer", "client-id", "client-secret", "uri"),
}
"""The keys every connection secret of a kind of claim has. A provider that yields less is not Ready."""

OPTIONAL: dict[str, tuple[str, ...]] = {
    "PostgreSQL": ("sslmode", "ca.crt"),
    "Redis": ("prefix", "tls", "ca.crt"),
}
"""The keys that are there where the service has what they say, by the same names whoever provides it.

`sslmode`: as libpq has it; `tls`: "true" where the server speaks TLS; `ca.crt`: the authorities of the server's
certificate, where they are not public ones; `prefix`: what the names of all keys and channels must begin with.
"""

TYPES = {
    "PostgreSQL": "postgresql",
    "Redis": "redis",
    "Bucket": "s3",
    "SMTPAccount": "smtp",
    "OIDCClient": "oidc",
}
"""The `type` key of each, as servicebinding.io has it; the Secret's own type is `servicebinding.io/<type>`."""


def missing_keys(claim_kind: str, keys: frozenset[str]) -> tuple[str, ...]:
    """The required keys that are not there, in the schema's order."""
    return tuple(key for key in REQUIRED[claim_kind] if key not in keys)
