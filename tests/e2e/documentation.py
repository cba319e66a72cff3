"""What pages tell people to type, and the objects they show."""

import re
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Found:
    """A piece of a page, and the line it begins at."""

    page: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(page: Path, language: str) -> list[Found]:
    """The fenced blocks of a language."""
    text = page.read_text()
    fenced = re.compile(rf"^```{language}\n(.*?)^```", re.DOTALL | re.MULTILINE)
    return [Found(page.name, text.count("\n", 0, found.start(1)) + 1, found[1]) for found in fenced.finditer(text)]


def commands(page: Path) -> list[Found]:
    """Every command in the blocks fenced as sh, without the comment behind it."""
    return [
        Found(block.page, block.line + number, command)
        for block in blocks(page, "sh")
        for number, line in enumerate(block.text.splitlines())
        if (command := re.sub(r"(^|\s+)#.*", "", line).strip())
    ]
