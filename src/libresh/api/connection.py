"""What a connection secret holds: for each kind of claim one published, versioned set of keys (servicebinding.io)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Schema:
    """The keys that connection secrets of one kind have, whoever provides the service, each with what it holds.

    `type` is the value of the key `type`; the Secret's own type is `servicebinding.io/<type>`. A key that is added is
    optional; to take one away or to change what it holds makes another `version`. `together`: keys that are all there
    or none of them.
    """

    type: str
    required: Mapping[str, str]
    optional: Mapping[str, str] = field(default_factory=dict)
    together: Mapping[str, str] = field(default_factory=dict)
    version: str = "v1"

    @property
    def label(self) -> str:
        """How connection secrets say which schema they follow: postgresql.v1."""
        return f"{self.type}.{self.version}"

    def missing(self, keys: Iterable[str]) -> tuple[str, ...]:
        """The required keys that are not there, in the schema's order, and those that lack beside their like."""
        there = frozenset(keys)
        wanted = (*self.required, *(self.together if there & self.together.keys() else ()))
        return tuple(key for key in wanted if key not in there)


COMMON = {
    "type": "the kind of service",
    "provider": "who provides it",
    "host": "the name or address to connect to",
    "port": "the port to connect to",
}
"""What every connection begins with."""
