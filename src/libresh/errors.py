"""Errors that are meant for people: what went wrong, where, and the way out.

LibreshError
├── Unavailable    the world is flaky: try again later
└── Conflict       what we decided on was stale: look again at once
"""


class LibreshError(Exception):
    """Something a person can act on.

    `reference` is a stable kebab-case word to search for, `message` says what and where, `hint` the way out.
    """

    def __init__(self, reference: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.reference = reference
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class Unavailable(LibreshError):
    """The API server or a service did not answer as it should; the pass is repeated after a pause."""


class Conflict(LibreshError):
    """An object changed under our hands; the pass is repeated at once, silently."""
