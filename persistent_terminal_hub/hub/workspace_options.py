"""What a person may choose for a workspace when starting it, and within what limits (pure).

JupyterHub calls this `user_options`; it is the JSON object of a start request. Anything that is not listed
here, and anything above what the administrator allows, is refused with a sentence. What was accepted once
goes for later starts, until something else is chosen; `null` goes back to the hub's own value.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from persistent_terminal_hub.hub.container_spec import MEBIBYTE, parse_memory
from persistent_terminal_hub.hub.egress import Ground, Policy

LEAST_MEMORY = 64 * MEBIBYTE


class OptionsRefused(ValueError):
    """The choice is refused; the text is one or more sentences."""


class WorkspaceOptions(BaseModel):
    """A person's choice; what is not chosen is None."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    image: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    cpu: Annotated[float, Field(ge=0.05, le=1024, allow_inf_nan=False)] | None = None
    memory: Annotated[str, Field(pattern=r"^[1-9][0-9]{0,11}[KMGT]$")] | None = None
    pids: Annotated[int, Field(ge=32, le=1_000_000)] | None = None
    egress: Literal["none", "internet", "list"] | None = None

    @field_validator("cpu", mode="before")
    @classmethod
    def _no_switch(cls, value: Any) -> Any:
        if isinstance(value, bool):  # which Python takes for a number
            raise ValueError("is no number")  # noqa: TRY004  (pydantic takes no TypeError)
        return value

    def chosen(self) -> dict[str, Any]:
        """Only what is chosen, as JSON takes it."""
        return self.model_dump(exclude_none=True)


#: What each field must be, as the end of a sentence.
WANTED = {
    "image": "the name of an image",
    "cpu": "a number of CPUs from 0.05 to 1024",
    "memory": "a text such as 512M or 2G",
    "pids": "a whole number from 32 to 1000000",
    "egress": "none, internet or list",
}


@dataclass(frozen=True)
class Limits:
    """The administrator's side: what people get, and the most that they may choose."""

    image: str
    images: frozenset[str]
    cpu: float
    memory_bytes: int
    pids: int
    ground: Ground


def parse(given: object) -> WorkspaceOptions:
    """A choice as it came. Raises OptionsRefused; no value is repeated in the text."""
    if not isinstance(given, Mapping):
        raise OptionsRefused("The options of a workspace must be an object.")
    try:
        return WorkspaceOptions.model_validate(dict(given))
    except ValidationError as error:
        sentences = []
        for problem in error.errors(include_url=False, include_input=False):
            field = str(problem["loc"][0]) if problem["loc"] else ""
            if field in WANTED:
                sentences.append(f"{field} must be {WANTED[field]}.")
            else:
                sentences.append(
                    f"There is no option of the name {field[:40]!r}; there are {', '.join(WANTED)}."
                )
        raise OptionsRefused(" ".join(dict.fromkeys(sentences))) from None


def excesses(options: WorkspaceOptions, limits: Limits) -> dict[str, str]:
    """Which fields go beyond what is allowed, each with a sentence."""
    found = {}
    if options.image is not None and options.image not in limits.images | {limits.image}:
        others = ", ".join(sorted(limits.images | {limits.image}))
        found["image"] = f"That image is not one that may be chosen here; these are: {others}."
    if options.cpu is not None and options.cpu > limits.cpu:
        found["cpu"] = f"At most {limits.cpu:g} CPUs may be chosen here."
    if options.memory is not None:
        size = parse_memory(options.memory)
        if size > limits.memory_bytes:
            found["memory"] = f"At most {limits.memory_bytes // MEBIBYTE}M of memory may be chosen here."
        elif size < LEAST_MEMORY:
            found["memory"] = f"A workspace needs at least {LEAST_MEMORY // MEBIBYTE}M of memory."
    if options.pids is not None and options.pids > limits.pids:
        found["pids"] = f"At most {limits.pids} processes may be chosen here."
    if options.egress is not None and not limits.ground.permits(Policy(options.egress)):
        found["egress"] = (
            f"Workspaces of this hub reach at most what {limits.ground.most.value!r} lets through."
        )
    return found


def accept(kept: Mapping[str, Any], given: object, limits: Limits) -> tuple[WorkspaceOptions, list[str]]:
    """The options of a start: what is given over what was kept from earlier; and notes for the person.

    What was accepted earlier and is beyond the limits of today falls back to the hub's own value, with a
    note. Raises OptionsRefused for anything wrong in what is given now.
    """
    earlier: dict[str, Any] = {}
    notes: dict[str, str] = {}
    for name, value in kept.items():
        try:
            one = parse({name: value})
        except OptionsRefused:
            continue
        if beyond := excesses(one, limits):
            notes[name] = f"Your earlier choice of {name} no longer holds: {beyond[name]}"
        else:
            earlier[name] = value
    now = parse(given) if given else WorkspaceOptions()
    if not now.model_fields_set or now.chosen() == kept:
        return parse(earlier), list(notes.values())
    if beyond := excesses(now, limits):
        raise OptionsRefused(" ".join(beyond.values()))
    both = {**earlier, **now.model_dump(include=now.model_fields_set)}
    return parse(both), [note for name, note in notes.items() if name not in now.model_fields_set]
