"""Settings as text: the YAML that `check-config` prints, and the reference page."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from pydantic import SecretStr
from pydantic_core import PydanticUndefined

from persistent_terminal_hub.config.presets import PRESETS
from persistent_terminal_hub.config.schema import Group, Keys, Kind, Leaf, Member, Table, describe
from persistent_terminal_hub.config.unlocking import default_lock_is_off
from persistent_terminal_hub.settings import AuthSettings, Settings

MASK = "********"

# Begins with a letter or slash, so it is neither a number nor an indicator; words of YAML are excluded below.
_PLAIN = re.compile(r"[A-Za-z/][A-Za-z0-9_./-]*")
_WORDS = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n"})


def to_yaml(
    settings: Settings, *, reveal_secrets: bool = False, origins: Mapping[Keys, str] | None = None
) -> str:
    """The settings as YAML that loads back; with origins, each line says where its value came from."""
    lines: list[tuple[str, str]] = []
    _group_lines(lines, describe(Settings), settings, reveal_secrets, origins or {}, settings)
    if origins is None:
        return "".join(f"{text}\n" for text, _ in lines)
    width = min(60, max(len(text) for text, _ in lines))
    return "".join(f"{text.ljust(width)}  # {origin}\n" if origin else f"{text}\n" for text, origin in lines)


def reference_page() -> str:
    """docs/reference/settings.md: every key with its type, default, range and variable."""
    out = [
        "# Settings\n",
        "<!-- Written by `persistent-terminal-hub settings-reference`; change the model. -->\n",
        "Every setting has a default; with no file the hub serves on 127.0.0.1:8000 with local accounts.",
        "Keys are camelCase; snake_case is accepted too. A variable of the environment overrides the file.",
        "See [how to configure](../how-to/configure.md).\n",
    ]
    root = describe(Settings)
    top = [child for child in root.children if isinstance(child, Leaf)]
    groups = [member for member in root.walk() if isinstance(member, Group)]
    out += ["## Top level\n", *_table(top)]
    for group in groups:
        out += [f"## {group.dotted}\n", f"{group.model.__doc__}\n"]
        if group.optional:
            out += [f"`{group.env}=none` takes away a group that the file sets.\n"]
        out += _table([child for child in group.children if isinstance(child, Leaf)])
    for table in root.tables():
        about = " ".join(str(table.entry.model.__doc__).split())
        out += [
            f"## {table.dotted}\n",
            f"{about} A list of objects, in the environment as JSON: `{table.env}`.\n",
        ]
        out += _entry_table([child for child in table.entry.children if isinstance(child, Leaf)])
    return "\n".join(out).rstrip() + "\n"


def _group_lines(
    lines: list[tuple[str, str]],
    group: Group,
    values: Any,
    reveal: bool,
    origins: Mapping[Keys, str],
    settings: Settings,
) -> None:
    indent = "  " * len(group.keys)
    for child in group.children:
        value = getattr(values, child.path[-1])
        name = child.keys[-1]
        origin = origins.get(child.keys) or _default_origin(child, settings)
        if isinstance(child, Table):
            lines.append((f"{indent}{name}:{'' if value else ' []'}", origin))
            for number, entry in enumerate(value):
                line = origins.get(child.place(number), "")
                lines.append((f"{indent}- {_entry(entry, child, reveal)}", line))
        elif isinstance(child, Leaf):
            lines.append((f"{indent}{name}: {_value(value, reveal)}", origin))
        elif value is None:
            lines.append((f"{indent}{name}: null", origin))
        else:
            lines.append((f"{indent}{name}:", ""))
            _group_lines(lines, child, value, reveal, origins, settings)


def _entry(entry: Any, table: Table, reveal: bool) -> str:
    """An entry of a table on one line, without what it does not set."""
    given = [
        child for child in table.entry.children if getattr(entry, child.path[-1]) not in (None, frozenset())
    ]
    pairs = (f"{child.keys[-1]}: {_value(getattr(entry, child.path[-1]), reveal)}" for child in given)
    return "{" + ", ".join(pairs) + "}"


def _default_origin(member: Member, settings: Settings) -> str:
    if member.keys == ("session", "idleLockMinutes") and default_lock_is_off(settings):
        return "default, but off: nobody could unlock"
    of_provider = isinstance(member, Leaf) and member.field.default_factory is not None
    return f"default of {settings.auth.provider}" if of_provider else "default"


def _value(value: object, reveal: bool) -> str:
    if isinstance(value, SecretStr):
        secret = value.get_secret_value()
        return _text(secret) if reveal or not secret else _text(MASK)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    if isinstance(value, frozenset):
        value = tuple(sorted(value))
    if isinstance(value, tuple):
        return "[" + ", ".join(_text(part) for part in value) + "]"
    return _text(str(value))


def _text(text: str) -> str:
    if _PLAIN.fullmatch(text) and text.casefold() not in _WORDS:
        return text
    quoted = "".join(
        "\\" + char if char in '"\\' else char if char.isprintable() else f"\\U{ord(char):08x}"
        for char in text
    )
    return f'"{quoted}"'


def _table(leaves: list[Leaf]) -> list[str]:
    rows = [f"| `{leaf.keys[-1]}` | {_type(leaf)} | {_default(leaf)} | {_about(leaf)} |" for leaf in leaves]
    return ["| key | type | default | what it does |", "|---|---|---|---|", *rows, ""]


def _entry_table(leaves: list[Leaf]) -> list[str]:
    """Like `_table`, for keys that are all optional and have no variable."""
    rows = [f"| `{leaf.keys[-1]}` | {_type(leaf)} | {leaf.field.description} |" for leaf in leaves]
    return ["| key | type | what it does |", "|---|---|---|", *rows, ""]


def _type(leaf: Leaf) -> str:
    if leaf.kind is Kind.CHOICE:
        return ", ".join(f"`{choice}`" for choice in leaf.choices)
    bounds = [
        f"{word} {getattr(rule, name):,}"
        for rule in leaf.limits
        for name, word in (("gt", "more than"), ("ge", "from"), ("le", "to"))
        if getattr(rule, name, None) is not None
    ]
    return " ".join([leaf.kind.value, *bounds])


def _default(leaf: Leaf) -> str:
    if leaf.field.is_required():
        return "needed"
    if leaf.field.default is not PydanticUndefined:
        return f"`{_value(leaf.field.default, reveal=True)}`"
    # Depends on the provider: the generic one first, then who differs.
    name = leaf.path[-1]
    plain = getattr(AuthSettings(), name)
    others = [
        f"{provider}: `{_value(getattr(preset, name), reveal=True)}`"
        for provider, preset in PRESETS.items()
        if getattr(preset, name) != plain
    ]
    return "; ".join([f"`{_value(plain, reveal=True)}`", *others])


def _about(leaf: Leaf) -> str:
    variable = f"`{leaf.env}`" + (f" or `{leaf.env}_FILE`" if leaf.kind is Kind.SECRET else "")
    return f"{leaf.field.description} {variable}"
