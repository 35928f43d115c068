"""The form of a new workspace: what may be chosen in it, and what was (pure).

The workspace itself judges a repository's URL once more before git sees it (`server/clone_url.py`).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from persistent_terminal_hub.hub.container_spec import MEBIBYTE
from persistent_terminal_hub.hub.egress import Policy
from persistent_terminal_hub.hub.workspace_options import Limits, OptionsRefused, excesses, parse

MAX_NAME = 30
MAX_TITLE = 100
MAX_URL = 2048
#: As `control/names.py` has it; both rooms are tested against one table.
NAME_PATTERN = r"[a-z](?:-?[a-z0-9])*"
#: What a browser checks while somebody types; the workspace decides.
URL_PATTERN = r"(https|ssh|git)://[^\s@/]*@?[^\s@/]+/\S+|[A-Za-z0-9._\-]+@[A-Za-z0-9.\-]+:\S+"
_BAD_TEXT = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufeff]")
_CPUS = (0.5, 1, 2, 4, 8, 16, 32, 64, 128)
_MEMORY = (512, 1024, 2048, 4096, 8192, 16384, 32768, 65536, 131072, 262144)
_FIELDS = ("name", "title", "url", "branch", "install", "cpu", "memory", "egress", "image")

EGRESS_WORDS = {
    Policy.NONE: "nothing but the hub",
    Policy.LIST: "what the administrator lists",
    Policy.INTERNET: "the internet",
}


@dataclass(frozen=True, slots=True)
class Option:
    """One choice of a list."""

    value: str
    text: str


@dataclass(frozen=True, slots=True)
class Choices:
    """What can be chosen; a list of none or one is not shown."""

    cpu: tuple[Option, ...] = ()
    memory: tuple[Option, ...] = ()
    egress: tuple[Option, ...] = ()
    image: tuple[Option, ...] = ()
    clone: bool = False


@dataclass(frozen=True, slots=True)
class Wish:
    """A form that holds."""

    name: str
    title: str
    url: str = ""
    branch: str = ""
    #: Install what the repository needs, in a session named setup.
    install: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Form:
    """What was filled in, and what is wrong with it: field -> sentence."""

    values: Mapping[str, str] = field(default_factory=dict)
    errors: Mapping[str, str] = field(default_factory=dict)


def choices(
    limits: Limits | None, *, cpu: float, memory: int, egress: str, filtered: bool, clone: bool
) -> Choices:
    """What the administrator allows. `limits` None: workspaces are plain processes; the rest are the hub's
    own values, which count when nothing is chosen (`memory` in bytes)."""
    if limits is None:
        return Choices(clone=clone)
    cpus = sorted({*(each for each in _CPUS if each < limits.cpu), limits.cpu, cpu} - {cpu})
    most = limits.memory_bytes // MEBIBYTE
    usual = memory // MEBIBYTE
    mebibytes = sorted({*(each for each in _MEMORY if each < most), most, usual} - {usual})
    allowed = [policy for policy in Policy if limits.ground.permits(policy)] if filtered else []
    others = [policy for policy in allowed if policy.value != egress]
    return Choices(
        cpu=_list(f"Usual ({cpu:g})", [(f"{each:g}", f"{each:g}") for each in cpus]),
        memory=_list(f"Usual ({_memory(usual)})", [(f"{each}M", _memory(each)) for each in mebibytes]),
        egress=_list(
            f"Usual ({EGRESS_WORDS[Policy(egress)]})", [(each.value, EGRESS_WORDS[each]) for each in others]
        ),
        image=_list(
            f"Usual ({limits.image})", [(each, each) for each in sorted(limits.images - {limits.image})]
        ),
        clone=clone,
    )


def read(
    fields: Mapping[str, str], taken: Collection[str], limits: Limits | None, clone: bool
) -> Wish | Form:
    """What a form asks for, or the form with sentences about it. `taken`: the names that are."""
    values = {name: fields.get(name, "").strip() for name in _FIELDS}
    title = values["title"]
    name = values["name"] or slug(title)
    errors = {"name": name_problem(name, taken)}
    if len(title) > MAX_TITLE or _BAD_TEXT.search(title):
        errors["title"] = (
            f"What people read is one line of at most {MAX_TITLE} characters, without control ones."
        )
    if values["url"] and not clone:
        errors["url"] = "Repositories cannot be cloned here: the administrator has turned that service off."
    elif values["url"]:
        errors["url"] = url_problem(values["url"])
    elif values["branch"]:
        errors["branch"] = "A branch needs the repository that it is of."
    options, wrong = _options(values, limits)
    errors = {field: sentence for field, sentence in {**errors, **wrong}.items() if sentence}
    if errors:
        return Form({**values, "name": name}, errors)
    return Wish(name, title or name, values["url"], values["branch"], bool(values["install"]), options)


def name_problem(name: str, taken: Collection[str]) -> str:
    """Why a new workspace cannot have this name; empty when it can."""
    if not name:
        return "Give it a name."
    if len(name) > MAX_NAME or not re.fullmatch(NAME_PATTERN, name):
        return (
            f"A name has 1 to {MAX_NAME} characters of a-z, 0-9 and single hyphens between them, and begins "
            "with a letter."
        )
    if name in taken:
        return "You have a workspace of this name already."
    return ""


def url_problem(url: str) -> str:
    """What is wrong with the address of a repository at first sight. It never quotes it."""
    if len(url) > MAX_URL or not re.fullmatch(URL_PATTERN, url):
        return "Give the repository's address with https://, ssh:// or git:// (or user@host:path)."
    if re.match(r"https?://[^/]*@", url):
        return (
            "Leave user name and password out of the address: it would be kept in the repository's settings."
        )
    return ""


def slug(title: str) -> str:
    """A name made of what people read; empty when nothing of it can be in one."""
    plain = re.sub(r"[^a-z0-9]+", "-", title.lower()).lstrip("-0123456789").strip("-")
    return plain[:MAX_NAME].rstrip("-")


def _options(values: Mapping[str, str], limits: Limits | None) -> tuple[dict[str, Any], dict[str, str]]:
    given: dict[str, Any] = {name: values[name] for name in ("memory", "egress", "image") if values[name]}
    if values["cpu"]:
        try:
            given["cpu"] = float(values["cpu"])
        except ValueError:
            given["cpu"] = values["cpu"]
    if not given:
        return {}, {}
    if limits is None:
        sentence = "Workspaces of this hub are plain processes; nothing can be chosen."
        return {}, dict.fromkeys(given, sentence)
    found: dict[str, Any] = {}
    wrong: dict[str, str] = {}
    for name, value in given.items():
        try:
            one = parse({name: value})
        except OptionsRefused as refusal:
            wrong[name] = str(refusal)
            continue
        wrong |= excesses(one, limits)
        found |= one.chosen()
    return found, wrong


def _list(usual: str, others: list[tuple[str, str]]) -> tuple[Option, ...]:
    return (Option("", usual), *(Option(value, text) for value, text in others)) if others else ()


def _memory(mebibytes: int) -> str:
    return f"{mebibytes / 1024:g} GiB" if mebibytes >= 1024 else f"{mebibytes} MiB"
