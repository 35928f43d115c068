"""Says on a handler's method what it takes and answers: the OpenAPI document is made of that.

    @documented(body=CreateWorkspace, answers={202: WorkspaceChange}, refuses=(409,))
    async def post(self) -> None:
        \"\"\"Create one.\"\"\"

The first line of the docstring is the summary. `refuses` lists what comes on top of what every method may
answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import BaseModel

F = TypeVar("F", bound=Callable[..., Any])

_ATTRIBUTE = "_pth_documented"


@dataclass(frozen=True, slots=True)
class Documented:
    """What a method takes and answers."""

    body: type[BaseModel] | None = None
    query: type[BaseModel] | None = None
    #: Status to model; None: no body.
    answers: Mapping[int, type[BaseModel] | None] = field(default_factory=dict)
    #: Status to another media type and an example of it.
    media: Mapping[int, tuple[str, str]] = field(default_factory=dict)
    refuses: tuple[int, ...] = ()
    example: Mapping[str, Any] | None = None
    #: Whether an Idempotency-Key counts.
    idempotent: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)


def documented(**fields: Any) -> Callable[[F], F]:
    """See the module; the fields are those of `Documented`."""
    said = Documented(**fields)

    def mark(method: F) -> F:
        setattr(method, _ATTRIBUTE, said)
        return method

    return mark


def documentation(method: Callable[..., Any]) -> Documented | None:
    """What was said of a method."""
    found = getattr(method, _ATTRIBUTE, None)
    return found if isinstance(found, Documented) else None
