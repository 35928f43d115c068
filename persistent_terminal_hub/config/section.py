"""What every group of settings is: strict, frozen, camelCase in YAML."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, SecretStr, field_validator
from pydantic.alias_generators import to_camel

# C0 and C1 controls, and halves of surrogate pairs (environment variables that are not UTF-8 bring them).
_UNTIDY = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
NOT_TEXT = "must be plain text on one line, without control characters"


class Section(BaseModel):
    """A group of settings: refuses unknown keys, cannot be changed after loading."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
    )

    @field_validator("*")
    @classmethod
    def _plain_text(cls, value: Any) -> Any:
        for part in value if isinstance(value, tuple | frozenset) else (value,):
            text = part.get_secret_value() if isinstance(part, SecretStr) else part
            if isinstance(text, str | Path) and _UNTIDY.search(str(text)):
                raise ValueError(NOT_TEXT)
        return value
