"""Settings from the environment: `PTH_<SECTION>__<KEY>`, and `…_FILE` for secrets.

A variable is converted by what its setting holds; what cannot be converted stays text, and the
model then says what it wanted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from persistent_terminal_hub.config.file import nearest
from persistent_terminal_hub.config.schema import ENV_PREFIX, Group, Keys, Kind, Leaf, Member, Table

#: A secret is a line; more is another file, and must not be read into memory.
MAX_SECRET_BYTES = 64 * 1024

_SWITCH = {
    "true": True,
    "yes": True,
    "on": True,
    "1": True,
    "false": False,
    "no": False,
    "off": False,
    "0": False,
}


@dataclass
class EnvironmentContent:
    """What the environment said."""

    values: dict[Keys, Any] = field(default_factory=dict)
    names: dict[Keys, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def read_environment(environ: Mapping[str, str], schema: Group) -> EnvironmentContent:
    """Reads every variable that is a setting and refuses those that only look like one."""
    content = EnvironmentContent()
    members = {
        member.env: member for member in schema.walk() if not isinstance(member, Group) or member.optional
    }
    files = {f"{leaf.env}_FILE": leaf for leaf in schema.leaves() if leaf.kind is Kind.SECRET}
    # Groups sort before their members, so that a member given beside `PTH_SERVER__TLS=none` wins.
    for name in sorted(environ):
        if not name.startswith(ENV_PREFIX):
            continue
        text = environ[name]
        if name in members:
            member = members[name]
            if isinstance(member, Group):
                _read_group(content, name, text, member)
            elif isinstance(member, Table):
                _read_table(content, name, text, member)
            else:
                _keep(content, member, name, _convert(member, text))
        elif name in files:
            _read_secret(content, name, text, files[name], environ)
        elif "__" in name:
            guess = nearest(name, [*members, *files])
            hint = (
                f"did you mean {guess}?"
                if guess
                else "'persistent-terminal-hub check-config' lists all settings."
            )
            content.problems.append(f"{_shown(name)} is not a setting; {hint}")
    return content


def _keep(content: EnvironmentContent, member: Member, name: str, value: Any) -> None:
    content.values[member.keys] = value
    content.names[member.keys] = name


def _read_group(content: EnvironmentContent, name: str, text: str, group: Group) -> None:
    if text.strip().casefold() in ("", "none", "null"):
        _keep(content, group, name, None)
    else:
        inside = " and ".join(child.env for child in group.children)
        content.problems.append(f"{name} can only be 'none'; set {inside} instead.")


def _read_table(content: EnvironmentContent, name: str, text: str, table: Table) -> None:
    """A list of objects as JSON. No text of a value is repeated: it may be another variable's by mistake."""
    try:
        entries = json.loads(text) if text.strip() else []
    except (ValueError, RecursionError):
        content.problems.append(f"{name} is not valid JSON; it must be a list of objects, as [{{...}}].")
        return
    if isinstance(entries, dict):
        # What the hub puts into a workspace has the same name; somebody runs the hub in a workspace.
        content.problems.append(
            f"{name} must be a JSON list of objects; an object is what a hub gives its workspaces: "
            "unset the variable here."
        )
        return
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        content.problems.append(f"{name} must be a JSON list of objects, as [{{...}}].")
        return
    _keep(
        content, table, name,
        [_entry(content, name, entry, number, table) for number, entry in enumerate(entries, start=1)],
    )  # fmt: skip


def _entry(
    content: EnvironmentContent, name: str, entry: Mapping[str, Any], number: int, table: Table
) -> dict[str, Any]:
    values: dict[str, Any] = {}
    names = [child.keys[-1] for child in table.entry.children]
    for key, value in entry.items():
        member = table.entry.child(key)
        where = f"{name}: entry {number}"
        if member is None:
            guess = nearest(key, names)
            hint = f"did you mean {guess}?" if guess else f"the names are {', '.join(names)}."
            shown = f"{table.dotted}.{key}" if re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]{0,63}", key) else "a key"
            content.problems.append(f"{where}: {shown} is not a setting; {hint}")
        elif member.keys[-1] in values:
            content.problems.append(f"{where}: {member.dotted} is given in two spellings; keep one.")
        else:
            values[member.keys[-1]] = value
    return values


def _convert(leaf: Leaf, text: str) -> Any:
    trimmed = text.strip()
    if leaf.kind is Kind.SWITCH:
        return _SWITCH.get(trimmed.casefold(), text)
    if leaf.kind is Kind.WHOLE:
        # Bounded, because Python refuses to convert thousands of digits.
        return int(trimmed) if re.fullmatch(r"[+-]?[0-9]{1,30}", trimmed) else text
    if leaf.kind is Kind.NUMBER:
        return float(trimmed) if re.fullmatch(r"[+-]?[0-9]{1,30}(\.[0-9]{0,30})?", trimmed) else text
    if leaf.kind is Kind.LIST:
        if trimmed.startswith("["):
            try:
                items = json.loads(trimmed)
            except (ValueError, RecursionError):
                return text
            return items if all(isinstance(item, str) for item in items) else text
        return [part.strip() for part in text.split(",") if part.strip()]
    return text


def _read_secret(
    content: EnvironmentContent, name: str, text: str, leaf: Leaf, environ: Mapping[str, str]
) -> None:
    if leaf.env in environ:
        content.problems.append(f"{leaf.env} and {name} are both set; keep one.")
        return
    try:
        with Path(text).open("rb") as stream:
            data = stream.read(MAX_SECRET_BYTES + 1)
        if len(data) > MAX_SECRET_BYTES:
            content.problems.append(f"{name}: the file is too large to be a secret.")
            return
        # Editors and `echo` end the line; no secret ends with a newline.
        _keep(content, leaf, name, data.decode("utf-8").rstrip("\r\n"))
    except UnicodeDecodeError:
        content.problems.append(f"{name}: the file is not UTF-8 text.")
    except OSError as error:
        # The variable may hold the secret itself by mistake, so its value is not repeated.
        content.problems.append(f"{name}: the file it names cannot be read: {error.strerror}.")
    except ValueError:
        content.problems.append(f"{name}: its value is not the path of a file.")


def _shown(name: str) -> str:
    return name if name.isascii() and name.isprintable() and len(name) <= 100 else f"{ENV_PREFIX}…"
