"""Names of sessions: what is allowed, and how a refusal is said. Pure."""

from __future__ import annotations

import itertools
import re
from collections.abc import Container

#: For routes: the pattern without anchors.
NAME_PATTERN = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}"

RULE = (
    "A session name has 1 to 64 characters: letters A-Z and a-z, digits, '_', '.' and '-'; "
    "the first is a letter or a digit."
)

_NAME = re.compile(NAME_PATTERN)


class InvalidName(ValueError):
    """A name that breaks the rule; its text is a sentence for the user."""

    def __init__(self) -> None:
        super().__init__(f"This is not a valid session name. {RULE}")


def is_valid(name: object) -> bool:
    """Whether `name` may name a session."""
    return isinstance(name, str) and _NAME.fullmatch(name) is not None


def check(name: object) -> str:
    """Return `name` if it may name a session, else raise `InvalidName`."""
    if not isinstance(name, str) or not is_valid(name):
        raise InvalidName
    return name


def next_free(taken: Container[str]) -> str:
    """The first of "1", "2", ... that is not taken: what JupyterLab's own terminals are called."""
    return next(name for name in map(str, itertools.count(1)) if name not in taken)
