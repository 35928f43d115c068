"""Bodies of requests: what every resource refuses alike, here and in the workspaces.

The control service passes a command on to the workspace, whose owner may send one there directly; both take
the same fields within the same bounds.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel

#: Characters of a command's argument or text, and bytes of its input.
MAX_ARGUMENT: Final = 128 * 1024
MAX_STDIN: Final = 1024 * 1024
MAX_TIMEOUT: Final = 86400.0
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")

# A NUL would end the string for the kernel.
Argument = Annotated[str, Field(max_length=MAX_ARGUMENT, pattern=r"^[^\x00]*$")]


class Body(BaseModel):
    """A JSON body: unknown fields and wrong types are refused; names are camelCase on the wire."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        alias_generator=to_camel,
        populate_by_name=False,
        hide_input_in_errors=True,
    )


class CommandBody(Body):
    """A command: a list of arguments, or a text for /bin/sh."""

    command: Argument | Annotated[list[Argument], Field(min_length=1, max_length=1024)]
    timeout: float | None = Field(None, gt=0, le=MAX_TIMEOUT, allow_inf_nan=False, description="seconds")
    cwd: str = Field("", max_length=4096, pattern=r"^[^\x00]*$", description="a folder in the home")
    env: dict[str, Argument] = Field(default_factory=dict, max_length=200)
    stdin: str = Field("", max_length=MAX_STDIN * 4 // 3 + 4)
    stdin_encoding: Literal["utf-8", "base64"] = "utf-8"
    output_encoding: Literal["utf-8", "base64"] = "utf-8"
    stream: bool = False

    @model_validator(mode="after")
    def _something(self) -> CommandBody:
        program = self.command if isinstance(self.command, str) else self.command[0]
        if not program.strip():
            raise ValueError("The command is empty.")
        check_env_names(self.env)
        return self


def check_env_names(names: Iterable[str]) -> None:
    """Raises ValueError with a sentence."""
    if not all(_ENV_NAME.fullmatch(name) for name in names):
        raise ValueError(
            "Names of environment variables have 1 to 128 letters, digits and '_', and do not begin with a "
            "digit."
        )


def sentence(error: ValidationError) -> str:
    """The first thing that is wrong. It never quotes the value."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    where = ".".join(str(part)[:40] for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return f"The field {where!r} is not known."
    if first["type"] == "missing":
        return f"The field {where!r} is missing."
    text = str(first["msg"]).removeprefix("Value error, ")
    return text if first["type"] == "value_error" else f"{where or 'body'}: {text}."
