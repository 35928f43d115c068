"""The settings model seen as a flat list of groups and keys, for everything that walks it:
the file reader, the environment, the printed form and the reference page."""

from __future__ import annotations

import types
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Annotated, Literal, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

ENV_PREFIX = "PTH_"

#: Where a value stands, in the spelling of the YAML file: ("server", "tls", "certFile").
Keys = tuple[str, ...]


class Kind(StrEnum):
    """What a key holds; the value completes the sentence "must be …"."""

    TEXT = "text"
    SECRET = "a secret text"  # noqa: S105 - a word of a sentence
    PATH = "a path"
    WHOLE = "a whole number"
    NUMBER = "a number"
    SWITCH = "true or false"
    LIST = "a list of texts"
    CHOICE = "one of its choices"


@dataclass(frozen=True)
class Leaf:
    """One setting."""

    path: tuple[str, ...]
    keys: Keys
    kind: Kind
    field: FieldInfo
    choices: tuple[str, ...] = ()
    #: Bounds, as annotated-types names them.
    limits: tuple[object, ...] = ()

    @property
    def dotted(self) -> str:
        return ".".join(self.keys)

    @property
    def env(self) -> str:
        return ENV_PREFIX + "__".join(self.path).upper()


@dataclass(frozen=True)
class Table:
    """A list of objects, as `rules`: one setting, whose entries are described by a group of their own."""

    path: tuple[str, ...]
    keys: Keys
    field: FieldInfo
    #: What an entry may hold; its members' keys begin with the table's own.
    entry: Group

    @property
    def dotted(self) -> str:
        return ".".join(self.keys)

    @property
    def env(self) -> str:
        return ENV_PREFIX + "__".join(self.path).upper()

    def place(self, index: int) -> Keys:
        """How an entry (counted from 0) is called among the keys of a file."""
        return (*self.keys, str(index))


@dataclass(frozen=True)
class Group:
    """A section of settings, the whole model included (with an empty path)."""

    path: tuple[str, ...]
    keys: Keys
    model: type[BaseModel]
    #: May be null as a whole, as `server.tls`.
    optional: bool
    children: tuple[Member, ...]

    @property
    def dotted(self) -> str:
        return ".".join(self.keys)

    @property
    def env(self) -> str:
        return ENV_PREFIX + "__".join(self.path).upper()

    def child(self, name: str) -> Member | None:
        """The member of that name in either spelling."""
        return next((c for c in self.children if name in (c.path[-1], c.keys[-1])), None)

    def walk(self) -> Iterator[Member]:
        """Every member, depth first, in the order of the model; not what the entries of a table hold."""
        for child in self.children:
            yield child
            if isinstance(child, Group):
                yield from child.walk()

    def leaves(self) -> Iterator[Leaf]:
        return (member for member in self.walk() if isinstance(member, Leaf))

    def tables(self) -> Iterator[Table]:
        return (member for member in self.walk() if isinstance(member, Table))


Member = Leaf | Group | Table


@cache
def describe(model: type[BaseModel]) -> Group:
    """The whole model as a tree of groups and leaves."""
    return _group(model, (), (), optional=False)


def _group(model: type[BaseModel], path: tuple[str, ...], keys: Keys, *, optional: bool) -> Group:
    children = tuple(
        _member(field, (*path, name), (*keys, field.alias or name))
        for name, field in model.model_fields.items()
    )
    return Group(path, keys, model, optional, children)


def _member(field: FieldInfo, path: tuple[str, ...], keys: Keys) -> Member:
    annotation = field.annotation
    optional = False
    if get_origin(annotation) in (types.UnionType, Union):
        options = [option for option in get_args(annotation) if option is not type(None)]
        optional = len(options) < len(get_args(annotation))
        annotation = options[0]
    limits = list(field.metadata)
    if get_origin(annotation) is Annotated:  # `Minutes | None`: pydantic leaves the bounds inside
        annotation, *extras = get_args(annotation)
        limits += [limit for extra in extras if isinstance(extra, FieldInfo) for limit in extra.metadata]
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return _group(annotation, path, keys, optional=optional)
    origin = get_origin(annotation)
    if origin is Literal:
        return Leaf(path, keys, Kind.CHOICE, field, get_args(annotation))
    if origin is tuple and issubclass(entry := get_args(annotation)[0], BaseModel):
        return Table(path, keys, field, _group(entry, path, keys, optional=False))
    if origin in (tuple, frozenset):
        return Leaf(path, keys, Kind.LIST, field)
    kinds: dict[object, Kind] = {
        str: Kind.TEXT, SecretStr: Kind.SECRET, Path: Kind.PATH,
        int: Kind.WHOLE, float: Kind.NUMBER, bool: Kind.SWITCH,
    }  # fmt: skip
    return Leaf(path, keys, kinds[annotation], field, limits=tuple(limits))
