"""Regular expressions as Go has them (RE2), translated to Python's, without what only one of the two knows.

Go's expressions never take long; Python's can. So a repeat around a repeat or a choice is refused, and a long text.
(github.com/google/re2/wiki/Syntax; pkg.go.dev/regexp/syntax.)
"""

import re
from functools import lru_cache

LONGEST = 512
"""The longest text that is searched."""

UNKNOWN = re.compile(r"\\(?:[pPQECKGXZhHNRuUkg1-9]|x\{)")
REPEAT = re.compile(r"(?:[*+?]|\{[0-9]+(?:,[0-9]*)?\})")
GROUP = re.compile(r"\(\?(?:(?P<plain>:)|P?<(?P<name>[A-Za-z_][A-Za-z0-9_]*)>|(?P<flags>[ims]+)(?P<end>[:)]))")
SET = re.compile(r"\[\^?\]?(?:\\.|[^\]\\])*\]", re.DOTALL)


class BadPattern(ValueError):
    """The expression cannot be used."""


@lru_cache(maxsize=256)
def compiled(pattern: str) -> re.Pattern[str]:
    """The expression for Python. BadPattern says why it cannot be used."""
    try:
        return re.compile(Translation(pattern).text, re.ASCII)
    except (re.error, OverflowError, RecursionError) as error:
        raise BadPattern(f"{pattern!r} is not a regular expression: {error}") from None


def search(pattern: str, text: str) -> re.Match[str] | None:
    """The first match in a text. BadPattern where the text is too long to be searched."""
    if len(text) > LONGEST:
        raise BadPattern(f"a text of more than {LONGEST} characters is not searched")
    return compiled(pattern).search(text)


class Translation:
    """One expression on its way into Python's spelling."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.rest = pattern
        self.made: list[str] = []
        self.busy = [False]
        """For each group that is open: whether it has a repeat or a choice in it."""
        self.closed = False
        """Whether what came last is a group that had one."""
        self.multiline = False
        while self.rest:
            self.step()
        self.text = "".join(self.made)

    def refuse(self, why: str) -> BadPattern:
        return BadPattern(f"{self.pattern!r}: {why}")

    def take(self, piece: str, made: str | None = None) -> None:
        self.rest = self.rest[len(piece) :]
        self.made.append(piece if made is None else made)

    def step(self) -> None:
        """The next piece."""
        closed, self.closed = self.closed, False
        char = self.rest[0]
        if char == "\\":
            self.escape()
        elif char == "[":
            self.set()
        elif char == "(":
            self.open()
        elif char == ")":
            self.close()
        elif found := REPEAT.match(self.rest):
            self.repeat(found[0], closed)
        else:
            self.busy[-1] = self.busy[-1] or char == "|"
            self.take(char, r"\Z" if char == "$" and not self.multiline else char)

    def escape(self) -> None:
        if unknown := UNKNOWN.match(self.rest):
            raise self.refuse(f"{unknown[0]} is not supported")
        piece = self.rest[:2]
        self.take(piece, r"\Z" if piece == r"\z" else piece)

    def set(self) -> None:
        found = SET.match(self.rest)
        if found is None or "[:" in found[0]:
            raise self.refuse("a set is not closed, or has a named class such as [:alpha:] in it")
        self.take(found[0])

    def open(self) -> None:
        """A bracket, perhaps with a name or flags."""
        if not self.rest.startswith("(?"):
            self.busy.append(False)
            self.take("(")
            return
        found = GROUP.match(self.rest)
        if found is None or (found["end"] == ")" and self.made):
            raise self.refuse(f"a group that begins with {self.rest[:3]} is not supported here")
        self.multiline = self.multiline or "m" in (found["flags"] or "")
        if found["end"] != ")":
            self.busy.append(False)
        self.take(found[0], f"(?P<{found['name']}>" if found["name"] else None)

    def close(self) -> None:
        if len(self.busy) == 1:
            raise self.refuse("a bracket is closed that was not opened")
        self.closed = self.busy.pop()
        self.busy[-1] = self.busy[-1] or self.closed
        self.take(")")

    def repeat(self, piece: str, closed: bool) -> None:
        if closed and piece != "?":
            raise self.refuse("a repeat of a group with a repeat or a choice in it could take for ever")
        after = self.rest[len(piece) :][:1]
        if after in ("+", "*"):
            raise self.refuse(f"{piece}{after} is not supported")
        self.busy[-1] = self.busy[-1] or piece in "*+" or "," in piece
        self.take(piece + "?" if after == "?" else piece)
