"""What every errand is told, and the two ways to say that it failed."""

import json
import os
from pathlib import Path

FOLDER = Path(os.environ.get("LIBRESH_SECRETS", "/etc/libresh/errand"))
CONNECT_TIMEOUT = 10
PATIENCE = 60
"""Seconds that one statement may take."""
SHOWN = ("ca.crt", "admin-username", "admin-client-id", "notes")
SHOWN_PARTS = (".client-id", ".registration-client-uri", ".told")
"""Files that are no secrets, and what the names of such end with."""


class Trouble(Exception):
    """It did not work, and may work the next time: the server is away, or a password is wrong."""


class Refused(Exception):
    """The server has not what is asked for, or must not give it: somebody must change something."""


class Errand:
    """One errand: the order, without secrets, and the secrets, as files."""

    def __init__(self, order, folder=FOLDER):
        self.order = order
        self.folder = folder
        self.server = f"{order['host']}:{order['port']}"
        self.hidden = set()

    @classmethod
    def given(cls):
        return cls(json.loads(os.environ["LIBRESH_ORDER"]))

    def __getitem__(self, name):
        return self.order[name]

    def secret(self, name):
        try:
            return (self.folder / name).read_text()
        except FileNotFoundError:
            raise Trouble(f"the secret {name} is not there yet") from None

    def known(self, name):
        """A secret that may be there or not."""
        path = self.folder / name
        return path.read_text() if path.exists() else None

    def hide(self, value):
        """A secret that came up on the way."""
        if value:
            self.hidden.add(value)

    @property
    def authority(self):
        """The file with the authorities of the server's certificate, where there are any but the public ones."""
        path = self.folder / "ca.crt"
        return str(path) if path.exists() else None

    def without_secrets(self, text):
        """A text that may be shown to people: one line, no secret, not endless, without what a hostile server adds."""
        for path in sorted(self.folder.iterdir()) if self.folder.is_dir() else ():
            if path.is_file() and path.name not in SHOWN and not path.name.endswith(SHOWN_PARTS):
                value = path.read_text(errors="replace")
                text = text.replace(value, "***") if value else text
        for value in sorted(self.hidden, key=len, reverse=True):
            text = text.replace(value, "***")
        printable = "".join(letter if letter.isprintable() else " " for letter in text)
        return " ".join(printable.split())[:1000]


def first_line(error):
    """The first line of an error: the others tell of statements, and change from one time to the next."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
