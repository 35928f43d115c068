"""What the magics of a notebook type into a session, and what they show of it. Pure, but for `keep`."""

from __future__ import annotations

import os
import re
import secrets
import shlex
from pathlib import Path

#: Files of cells that are kept: a shell may still be reading one.
KEPT_FILES = 100
#: The longest text that is typed as it stands; a line editor redraws for each character of a long one.
MAX_TYPED = 500
_UNSAFE_NAME = re.compile(r"[^\w.-]+")


def typed_as_it_stands(text: str) -> bool:
    """Whether a shell's line editor takes the text as it is: one line, and no key that means something."""
    return len(text) <= MAX_TYPED and all(character.isprintable() for character in text)


def keep(text: str, session: str, directory: Path) -> Path:
    """Write the text to a file of its own, which nobody else can read; remove the oldest. Raises OSError."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = directory / f"{_UNSAFE_NAME.sub('_', session)[:60]}-{secrets.token_hex(4)}.sh"
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "w") as file:
        file.write(text + "\n")
    oldest_first = sorted(directory.glob("*.sh"), key=lambda found: found.stat().st_mtime_ns)
    for old in oldest_first[:-KEPT_FILES]:
        old.unlink(missing_ok=True)
    return path


def source_line(path: Path) -> str:
    """What makes the session's own shell run the file: `cd` and `export` last, as if they had been typed."""
    return ". " + shlex.quote(str(path))


def last_lines(text: str, count: int) -> str:
    """The last `count` lines of output as a terminal shows them: what a return of the carriage overwrote
    is left out, and so are empty lines at the end."""
    lines = [line.rstrip("\r").rpartition("\r")[2].rstrip() for line in text.split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    return "\n".join(lines[-count:])
