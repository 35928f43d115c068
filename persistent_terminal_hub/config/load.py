"""Puts file and environment together, lets the model check the result, and turns what it
refuses into sentences that name the place."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from persistent_terminal_hub.config.environment import read_environment
from persistent_terminal_hub.config.file import FileContent, nearest, read_config_file
from persistent_terminal_hub.config.schema import Group, Keys, Kind, Leaf, Member, Table, describe
from persistent_terminal_hub.settings import NOT_TEXT, Settings, SettingsError


@dataclass(frozen=True)
class LoadedSettings:
    """Settings and where each value came from."""

    settings: Settings
    #: The file that was read, if any.
    path: Path | None = None
    #: "file, line 3" or "environment, PTH_SERVER__PORT"; what is not here is a default.
    origins: Mapping[Keys, str] = field(default_factory=dict)


def load(path: Path | None = None, environ: Mapping[str, str] | None = None) -> LoadedSettings:
    """Loads everything; raises SettingsError with all problems at once."""
    environ = os.environ if environ is None else environ
    schema = describe(Settings)
    if path is None and environ.get("PTH_CONFIG"):
        path = Path(environ["PTH_CONFIG"])
    content = read_config_file(path, schema) if path is not None else FileContent()
    variables = read_environment(environ, schema)
    values, origins, places = content.values, {}, {}
    for keys, line in content.lines.items():
        origins[keys] = f"file, line {line}"
        places[keys] = f"{path}:{line}: "
    for keys, variable in variables.names.items():
        for place in [place for place in places if place[: len(keys)] == keys]:
            del places[place]  # the lines of a table that the variable replaces
        _put(values, keys, variables.values[keys])
        origins[keys] = f"environment, {variable}"
        places[keys] = f"{variable}: "
    problems = [*content.problems, *variables.problems]
    _drop_half_characters(values, schema, places, problems)
    settings = _validate(values, schema, places, problems)
    if problems or settings is None:
        raise SettingsError(*problems)
    return LoadedSettings(settings, path, origins)


def _put(values: dict[str, Any], keys: Keys, value: Any) -> None:
    for key in keys[:-1]:
        inner = values.get(key)
        if not isinstance(inner, dict):
            inner = values[key] = {}
        values = inner
    values[keys[-1]] = value


def _drop_half_characters(
    values: dict[str, Any], schema: Group, places: Mapping[Keys, str], problems: list[str]
) -> None:
    """Takes out what JSON cannot carry: bytes in variables that are not UTF-8 arrive as surrogates."""
    for member in schema.walk():
        if isinstance(member, Group):
            continue
        holder: Any = values
        for key in member.keys[:-1]:
            holder = holder.get(key) if isinstance(holder, dict) else None
        if isinstance(holder, dict) and re.search("[\ud800-\udfff]", _all_text(holder.get(member.keys[-1]))):
            del holder[member.keys[-1]]
            problems.append(f"{places.get(member.keys, '')}{member.dotted} {NOT_TEXT}.")


def _all_text(value: object) -> str:
    """Everything that is text in plain values; `str()` would escape what is looked for."""
    if isinstance(value, dict):
        return "".join(f"{key}{_all_text(inner)}" for key, inner in value.items())
    if isinstance(value, list):
        return "".join(map(_all_text, value))
    return str(value)


def _validate(
    values: dict[str, Any], schema: Group, places: Mapping[Keys, str], problems: list[str]
) -> Settings | None:
    try:
        # Strict JSON is exactly what is wanted: lists become sets and texts become paths,
        # but "80" is no number and true is no 1.
        return Settings.model_validate_json(json.dumps(values), strict=True)
    except ValidationError as error:
        for detail in error.errors(include_url=False, include_input=False):
            sentence = _sentence(detail, values, schema, places)
            if sentence and sentence not in problems:
                problems.append(sentence)
        if not problems:
            problems.append("The settings are not valid.")
        return None


def _sentence(
    detail: ErrorDetails, values: Mapping[str, Any], schema: Group, places: Mapping[Keys, str]
) -> str | None:
    if detail["type"] == "default_factory_not_called":
        return None  # follows from another problem that has its own sentence
    keys = tuple(part for part in detail["loc"] if isinstance(part, str))
    # Entries of tables have lines of their own, under their numbers.
    exact = tuple(str(part) for part in detail["loc"])
    member = next((m for m in _members(schema) if m.keys == keys), None)
    place = next((places[exact[:n]] for n in range(len(exact), 0, -1) if exact[:n] in places), "")
    if any(keys[: len(table.keys)] == table.keys for table in schema.tables()) and place.startswith("PTH_"):
        place += f"entry {next(part for part in detail['loc'] if isinstance(part, int)) + 1}: "
    if not place:  # something is missing beside what one variable sets
        place = next((places[other] for other in places if other[:-1] == keys[:-1]), "")
    value: Any = values
    for part in detail["loc"]:
        try:
            value = value[part]
        except (KeyError, IndexError, TypeError):
            value = None
    rest = _predicate(detail, member, value)
    return f"{place}{'.'.join(keys)} {rest}{'' if rest.endswith('?') else '.'}"


def _members(schema: Group) -> list[Member]:
    inside = [child for table in schema.tables() for child in table.entry.walk()]
    return [*schema.walk(), *inside]


def _predicate(detail: ErrorDetails, member: Member | None, value: Any) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "missing":
        return "is missing; it belongs to its group"
    if kind == "value_error":
        return str(context["error"])
    if kind == "literal_error" and isinstance(member, Leaf):
        guess = nearest(value, list(member.choices)) if isinstance(value, str) else None
        hint = f"; did you mean {guess}?" if guess else ""
        return f"must be one of {', '.join(member.choices)}{hint}"
    if kind == "string_too_short":
        return "must not be empty"
    for name, words in (("ge", "at least"), ("gt", "more than"), ("le", "at most"), ("lt", "less than")):
        if name in context:
            limit = context[name]
            shown = int(limit) if isinstance(limit, float) and limit.is_integer() else limit
            return f"must be {words} {shown}"
    if isinstance(member, Group):
        return "must be a group of keys"
    if member is None or isinstance(member, Table):
        return "is not valid"
    wanted = member.kind
    if wanted is Kind.LIST and detail["loc"][-1] != member.keys[-1]:
        return f"must hold texts only, not {_name_of(value)}; put it in quotes"
    hint = ""
    if wanted in (Kind.TEXT, Kind.SECRET, Kind.PATH) and isinstance(value, bool | int | float):
        hint = "; put it in quotes"
    return f"must be {wanted}, not {_name_of(value)}{hint}"


def _name_of(value: object) -> str:
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, str):
        return "text" if value else "empty"
    return "a list" if isinstance(value, list) else "this"
