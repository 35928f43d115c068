"""Names and bounds of people's secrets: the same in the control service and in a workspace (pure).

A name is the name of a file, and of an environment variable if it can be one. The bounds keep what a session
is started with below what a kernel takes, and a workspace's tmpfs from filling up.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

#: Characters.
MAX_NAME: Final = 128
#: Bytes of one value, and of all values of a person together.
MAX_VALUE: Final = 32 * 1024
MAX_TOTAL: Final = 256 * 1024
#: Secrets of a person.
MAX_SECRETS: Final = 100
#: Bytes of a value that becomes an environment variable; a larger one is only a file.
MAX_VARIABLE: Final = 16 * 1024

#: Tells a session where its secrets are as files.
DIRECTORY_VARIABLE: Final = "PTH_SECRETS_DIR"

_NAME = re.compile(rf"[A-Za-z0-9_][A-Za-z0-9_.-]{{0,{MAX_NAME - 1}}}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# Also: a change of these would break or take over every new session, which is no secret's business.
_TAKEN = frozenset(
    {
        "PATH", "HOME", "SHELL", "USER", "LOGNAME", "TERM", "PWD", "OLDPWD", "IFS", "ENV", "BASH_ENV",
        "PS1", "PROMPT_COMMAND", "SHELLOPTS", "BASHOPTS", "TMPDIR", "PYTHONHOME", "PYTHONPATH",
        "PYTHONSTARTUP", "COLORTERM",
    }
)  # fmt: skip
_TAKEN_PREFIXES = ("PTH_", "JUPYTERHUB_", "JUPYTER_", "JPY_", "LD_", "BASH_FUNC_")
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def check_name(name: str) -> str:
    """The name if a secret may have it. Raises ValueError with a sentence."""
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"A secret's name has 1 to {MAX_NAME} letters, digits, '_', '.' or '-', and does not begin with "
            "'.' or '-'."
        )
    if name.upper() in _TAKEN or name.upper().startswith(_TAKEN_PREFIXES):
        raise ValueError(f"The name {name} is taken by the workspace itself; choose another one.")
    return name


def variable_of(name: str, value: bytes) -> str | None:
    """What the environment variable of this secret holds; None when it is only a file."""
    if not _VARIABLE.fullmatch(name) or len(value) > MAX_VARIABLE:
        return None
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return None
    return None if _CONTROL.search(text) else text


def check_all(secrets: Mapping[str, bytes]) -> None:
    """Refuse what no workspace takes. Raises ValueError with a sentence."""
    if len(secrets) > MAX_SECRETS:
        raise ValueError(f"There are {len(secrets)} secrets; {MAX_SECRETS} are the most.")
    for name, value in secrets.items():
        check_name(name)
        if len(value) > MAX_VALUE:
            raise ValueError(f"The secret {name} has {len(value)} bytes; {MAX_VALUE} are the most.")
    total = sum(len(value) for value in secrets.values())
    if total > MAX_TOTAL:
        raise ValueError(f"The secrets have {total} bytes together; {MAX_TOTAL} are the most.")
