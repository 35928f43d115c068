"""Reads a settings file into plain values and remembers on which line each stands.

Problems are sentences. No text of the file's values is ever quoted in one, because any of them may be a
secret in the wrong place; a key is quoted only when it looks like the name of a setting.
"""

from __future__ import annotations

import difflib
import math
import re
import stat
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

from persistent_terminal_hub.config.schema import Group, Keys, Leaf, Member, Table

if TYPE_CHECKING:
    from ruamel.yaml.nodes import MappingNode, Node

#: A settings file has some hundred lines; anything near this is another file, and the parser is slow.
MAX_FILE_BYTES = 64 * 1024
#: The model is three levels deep; the parser takes seconds for a thousand open brackets.
MAX_OPEN_BRACKETS = 64
#: Beyond this many problems a report helps nobody.
MAX_PROBLEMS = 100

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
_TAG = "tag:yaml.org,2002:"
# What the parser says, and what we say: its own words quote the text around the place.
_SYNTAX = (
    ("expected a single document", "the file must hold one YAML document; a second one begins here"),
    ("mapping values are not allowed", "a colon stands where none may; quote the text if it belongs to it"),
    ("undefined alias", "a value begins with *, which is a reference in YAML; put it in quotes"),
    ("duplicate anchor", "a name after & is given twice"),
    ("cannot start any token", "no YAML value may begin with the character here (a tab, @, ` or %);"
     " indent with spaces and put such values in quotes"),
    ("found unexpected end of stream", "the file ends inside quotes that were opened before"),
    ("could not find expected ':'", "a key has no colon after it"),
    ("expected ',' or", "a bracket opened before is not closed, or a comma is missing"),
    ("expected <block end>", "the indentation does not fit the lines above"),
    ("special characters are not allowed", "the file holds control characters, so it is no text"),
    ("escape", "an escape after a backslash is wrong; inside double quotes write \\\\ for a backslash"),
    ("undefined tag handle", "a value begins with !, which is a tag in YAML; put it in quotes"),
)  # fmt: skip


@dataclass
class FileContent:
    """What a file said, in the spelling of the model, and everything wrong with how it said it."""

    values: dict[str, Any] = field(default_factory=dict)
    lines: dict[Keys, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def read_config_file(path: Path, schema: Group) -> FileContent:
    """Reads the file; whatever it holds, the answer is a FileContent and never an exception."""
    content = FileContent()
    text = _read_text(path, content)
    if text is not None:
        root = _compose(text, path, content)
        if root is not None:
            _Walker(path, content, schema).document(root)
    more = len(content.problems) - MAX_PROBLEMS
    if more > 0:
        content.problems[MAX_PROBLEMS:] = [
            f"{path} has {more} more problems; is it a settings file of this program?"
        ]
    return content


def nearest(word: str, candidates: list[str]) -> str | None:
    """The candidate most like the word, whatever the case; None when none is like it."""
    by_fold = {candidate.casefold(): candidate for candidate in candidates}
    found = difflib.get_close_matches(word.casefold(), list(by_fold), n=1, cutoff=0.6)
    return by_fold[found[0]] if found else None


def _read_text(path: Path, content: FileContent) -> str | None:
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            content.problems.append(f"{path} is a directory; name the settings file in it.")
            return None
        if not stat.S_ISREG(mode):
            # A pipe without a writer would block for ever.
            content.problems.append(f"{path} is not a regular file.")
            return None
        with path.open("rb") as stream:
            data = stream.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        content.problems.append(f"The settings file {path} does not exist.")
        return None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "its name is not a valid path"
        content.problems.append(f"The settings file {path} cannot be read: {reason}.")
        return None
    if len(data) > MAX_FILE_BYTES:
        content.problems.append(
            f"{path} is larger than {MAX_FILE_BYTES // 1024} KiB, so it is not a settings file."
        )
        return None
    if b"\0" in data:
        content.problems.append(f"{path} is a binary file; settings are YAML text in UTF-8.")
        return None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        content.problems.append(f"{path}:{line}: the text is not UTF-8; save the file in that encoding.")
        return None


def _compose(text: str, path: Path, content: FileContent) -> Node | None:
    try:
        from ruamel.yaml import YAML
        from ruamel.yaml.error import MarkedYAMLError
    except ModuleNotFoundError:
        content.problems.append(
            "Reading a settings file needs ruamel.yaml; install persistent-terminal-hub with the extra [hub]."
        )
        return None
    too_deep = f"{path} is nested far too deeply for a settings file."
    if _open_brackets(text) > MAX_OPEN_BRACKETS:
        content.problems.append(too_deep)
        return None
    try:
        with warnings.catch_warnings():
            # ruamel's warnings quote the lines around the place, secrets and all.
            warnings.simplefilter("ignore")
            node: Node | None = YAML(typ="safe", pure=True).compose(text)
        return node
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else str(path)
        content.problems.append(f"{where}: {_syntax_sentence(f'{error.context} {error.problem}')}.")
    except RecursionError:
        content.problems.append(too_deep)
    except Exception as error:
        # ruamel lets IndexError, ValueError and the like escape on odd input; none may reach the user.
        content.problems.append(f"{path}: {_syntax_sentence(str(error))}.")
    return None


def _open_brackets(text: str) -> int:
    """How many brackets are open at once at most, roughly: quotes are not looked at."""
    depth = most = 0
    for bracket in re.findall(r"[\[{\]}]", text):
        depth += 1 if bracket in "[{" else -1
        most = max(most, depth)
    return most


def _syntax_sentence(problem: str) -> str:
    return next((ours for theirs, ours in _SYNTAX if theirs in problem), "the text is not valid YAML here")


class _Walker:
    """Goes down the nodes along the schema, so that depth and aliases in the file cannot lead it astray."""

    def __init__(self, path: Path, content: FileContent, schema: Group) -> None:
        self.path = path
        self.content = content
        self.schema = schema

    def problem(self, node: Node, sentence: str) -> None:
        mark = node.start_mark
        self.content.problems.append(f"{self.path}:{mark.line + 1}:{mark.column + 1}: {sentence}")

    def document(self, root: Node) -> None:
        if _is_null(root):  # only comments, say
            return
        if not _is_mapping(root):
            self.problem(root, "the file must hold keys and values, as in 'server: {port: 8000}'.")
            return
        self.content.values = self.group(root, self.schema)

    def group(self, node: MappingNode, group: Group, place: Keys | None = None) -> dict[str, Any]:
        """The values of a group, or of a table's entry, which stands at a `place` of its own."""
        values: dict[str, Any] = {}
        seen: dict[str, tuple[str, int]] = {}
        for key_node, value_node in node.value:
            key = key_node.value if _id(key_node) == "scalar" else None
            member = group.child(key) if isinstance(key, str) else None
            if key is None or member is None:
                self.unknown(key_node, key, value_node, group)
                continue
            name = member.keys[-1]
            line = key_node.start_mark.line + 1
            if name in seen:
                before, first = seen[name]
                how = "twice" if before == key else f"as {before} and as {key}, which are the same setting"
                self.problem(key_node, f"{member.dotted} is given {how} (first on line {first}); keep one.")
                continue
            seen[name] = (key, line)
            self.content.lines[member.keys if place is None else (*place, name)] = line
            if isinstance(member, Group):
                self.member_group(values, value_node, member)
            elif isinstance(member, Table):
                self.table(values, value_node, member)
            else:
                self.leaf(values, value_node, member)
        return values

    def member_group(self, values: dict[str, Any], node: Node, group: Group) -> None:
        if _is_mapping(node):
            values[group.keys[-1]] = self.group(node, group)
        elif not _is_null(node):  # an empty group is one whose lines are all commented out
            inside = ", ".join(child.keys[-1] for child in group.children)
            self.problem(node, f"{group.dotted} must be a group of keys ({inside}), not {_shape(node)}.")

    def table(self, values: dict[str, Any], node: Node, table: Table) -> None:
        if _id(node) != "sequence":
            if not _is_null(node):  # one whose entries are all commented out
                self.problem(node, f"{table.dotted} must be a list of entries, each after a dash (-).")
            return
        entries = values[table.keys[-1]] = []
        for index, item in enumerate(node.value):
            place = table.place(index)
            self.content.lines[place] = item.start_mark.line + 1
            if _is_mapping(item):
                entries.append(self.group(item, table.entry, place))
            else:
                self.problem(
                    item, f"each entry of {table.dotted} must be a group of keys ({_names(table.entry)})."
                )

    def leaf(self, values: dict[str, Any], node: Node, leaf: Leaf) -> None:
        if _is_null(node):
            self.problem(node, f"{leaf.dotted} has no value; give it one or remove the key.")
        elif _is_mapping(node):
            self.problem(node, f"{leaf.dotted} must be {leaf.kind}, not a group of keys.")
        elif _id(node) == "sequence":
            items = [self.scalar(item, leaf) for item in node.value]
            if None not in items:
                values[leaf.keys[-1]] = items
        else:
            value = self.scalar(node, leaf)
            if value is not None:
                values[leaf.keys[-1]] = value

    def scalar(self, node: Node, leaf: Leaf) -> str | int | float | bool | None:
        """The value of one scalar; None when a problem was noted instead."""
        if _id(node) != "scalar" or _is_null(node):
            self.problem(node, f"{leaf.dotted} holds {_shape(node)} where a plain value is wanted.")
            return None
        text = str(node.value)
        kind = str(node.tag).removeprefix(_TAG)
        try:
            if kind == "bool":
                return text.casefold() in ("true", "yes", "on", "y")
            if kind == "int":
                return _whole(text)
            if kind == "float":
                number = float(text.replace("_", ""))
                return number if math.isfinite(number) else text
        except ValueError:
            return text  # such as 1:30, a number in old YAML: the model says what it wants instead
        if kind in ("str", "timestamp"):
            return text
        self.problem(node, f"{leaf.dotted} has a YAML tag (a word after !); put the value in quotes.")
        return None

    def unknown(self, node: Node, key: str | None, value: Node, group: Group) -> None:
        where = f" in {group.dotted}" if group.keys else ""
        if key is None or not _NAME.fullmatch(key):
            self.problem(node, f"a key{where} is not the name of a setting; the names are {_names(group)}.")
            return
        guess = self.guess(key, group)
        if guess is None and _is_null(value):
            # "{clientSecret: ab,cd}" makes a key of what follows the comma: do not repeat it.
            self.problem(
                node, f"a key without a value{where} is not a setting; a text with a comma needs quotes."
            )
            return
        name = f"{group.dotted}.{key}" if group.keys else key
        hint = f"did you mean {guess}?" if guess else f"the names here are {_names(group)}."
        self.problem(node, f"{name} is not a setting; {hint}")

    def guess(self, key: str, group: Group) -> str | None:
        """The nearest name: here first, then the same name in another group."""
        here = _spellings(group.children)
        found = nearest(key, list(here))
        # What a table's entry may hold is no place for a key of another group, nor the other way round.
        in_entry = any(group is table.entry for table in self.schema.tables())
        elsewhere = {} if in_entry else _spellings(self.schema.leaves())
        if key in elsewhere:  # the right name in the wrong group
            return elsewhere[key]
        if found:
            return here[found]
        found = nearest(key, list(elsewhere))
        return elsewhere[found] if found else None


def _spellings(members: Iterable[Member]) -> dict[str, str]:
    """Both spellings of each member's name, and what the member is called in full."""
    members = list(members)
    # Of several groups that know the name, the first one.
    names = {member.keys[-1]: member.dotted for member in reversed(members)}
    return names | {member.path[-1]: member.dotted for member in reversed(members)}


def _names(group: Group) -> str:
    return ", ".join(child.keys[-1] for child in group.children)


def _whole(text: str) -> int:
    if len(text) > 40:
        raise ValueError  # no setting is that large, and Python balks at thousands of digits
    digits = text.replace("_", "").lstrip("+")
    return int(digits, 0) if digits.lstrip("-")[:2] in ("0x", "0o", "0b") else int(digits)


def _id(node: Node) -> str:
    """scalar, sequence or mapping; compared by name because ruamel is imported only to read a file."""
    return str(getattr(node, "id", ""))


def _is_null(node: Node) -> bool:
    return bool(_id(node) == "scalar" and str(node.tag) == _TAG + "null")


def _is_mapping(node: Node) -> TypeGuard[MappingNode]:
    return bool(_id(node) == "mapping" and str(node.tag) == _TAG + "map")


def _shape(node: Node) -> str:
    if _is_null(node):
        return "nothing"
    return {"mapping": "a group of keys", "sequence": "a list"}.get(_id(node), "a single value")
