"""The form of a new workspace: names, addresses, and choices out of the administrator's limits."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from persistent_terminal_hub.control.names import check_name
from persistent_terminal_hub.hub.egress import Policy
from persistent_terminal_hub.hub.new_workspace import (
    Choices,
    Form,
    Wish,
    choices,
    name_problem,
    read,
    slug,
    url_problem,
)
from persistent_terminal_hub.hub.workspace_options import Limits

GIB = 2**30


@dataclass(frozen=True)
class Ground:
    allowed: frozenset[Policy] = field(default=frozenset(Policy))

    def permits(self, policy: Policy) -> bool:
        return policy in self.allowed


def limits(**more: Any) -> Limits:
    fields = {"image": "usual", "images": frozenset(), "cpu": 4.0, "memory_bytes": 8 * GIB, "pids": 512}
    return Limits(**{**fields, "ground": Ground(), **more})


@pytest.mark.parametrize(
    ("name", "fine"),
    [("lab", True), ("a", True), ("a-1", True), ("a" * 30, True), ("a" * 31, False), ("1a", False),
     ("", False), ("a--b", False), ("a-", False), ("-a", False), ("Lab", False),
     ("lab x", False), ("läb", False)],
)  # fmt: skip
def test_names_are_those_of_the_control_service(name: str, fine: bool) -> None:
    assert (name_problem(name, ()) == "") is fine
    if not name:
        return  # there it means the default workspace
    if fine:
        assert check_name(name) == name
    else:
        with pytest.raises(ValueError, match="1 to 30"):
            check_name(name)


def test_a_name_that_is_taken() -> None:
    assert "already" in name_problem("lab", {"lab"})


@pytest.mark.parametrize(
    ("title", "name"),
    [("Spring Campaign 2026", "spring-campaign-2026"), ("2026 runs", "runs"), ("تحليل", ""),
     ("a" * 40, "a" * 30),
     ("x" * 29 + " y", "x" * 29), ("  GPU / CPU  ", "gpu-cpu")],
)  # fmt: skip
def test_a_name_follows_the_title(title: str, name: str) -> None:
    assert slug(title) == name
    assert not name or name_problem(name, ()) == ""


@pytest.mark.parametrize(
    ("url", "fine"),
    [("https://git.example.org/team/paper.git", True), ("ssh://git@git.example.org/x", True),
     ("git@git.example.org:team/x.git", True), ("git://example.org/x", True), ("ext::sh -c x", False),
     ("file:///etc/passwd", False), ("--upload-pack=x", False), ("https://ada:secret@example.org/x", False),
     ("https://example.org", False), ("https://example.org/" + "x" * 2048, False)],
)  # fmt: skip
def test_addresses(url: str, fine: bool) -> None:
    problem = url_problem(url)
    assert (problem == "") is fine
    assert "secret" not in problem


def test_a_form_that_holds() -> None:
    fields = {
        "title": "The paper", "url": "https://git.example.org/p.git", "branch": "main", "install": "yes",
        "cpu": "2", "memory": "4096M", "egress": "none",
    }  # fmt: skip
    wish = read(fields, {""}, limits(), clone=True)
    assert wish == Wish(
        "the-paper", "The paper", "https://git.example.org/p.git", "main", True,
        {"cpu": 2.0, "memory": "4096M", "egress": "none"},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "clone", "wrong"),
    [
        ({}, True, "name"),
        ({"name": "lab"}, True, "name"),
        ({"name": "x", "title": "a\u202eb"}, True, "title"),
        ({"name": "x", "url": "https://git.example.org/p"}, False, "url"),
        ({"name": "x", "url": "nonsense"}, True, "url"),
        ({"name": "x", "branch": "main"}, True, "branch"),
        ({"name": "x", "cpu": "64"}, True, "cpu"),
        ({"name": "x", "cpu": "many"}, True, "cpu"),
        ({"name": "x", "memory": "9G"}, True, "memory"),
        ({"name": "x", "image": "evil"}, True, "image"),
        ({"name": "x", "egress": "everything"}, True, "egress"),
    ],
)
def test_what_is_wrong_stands_at_its_field(fields: dict[str, str], clone: bool, wrong: str) -> None:
    form = read(fields, {"", "lab"}, limits(), clone)
    assert isinstance(form, Form)
    assert set(form.errors) == {wrong} and form.errors[wrong].endswith(".")
    assert form.values.get(wrong, "") == fields.get(wrong, "")


def test_choices_stay_within_the_limits() -> None:
    found = choices(limits(), cpu=2.0, memory=2 << 30, egress="internet", filtered=True, clone=True)
    assert [each.value for each in found.cpu] == ["", "0.5", "1", "4"]
    assert [each.text for each in found.memory] == ["Usual (2 GiB)", "512 MiB", "1 GiB", "4 GiB", "8 GiB"]
    assert [each.value for each in found.egress] == ["", "none", "list"]
    for options in (found.cpu, found.memory, found.egress):
        for each in options:
            wish = read({"name": "x", "cpu" if options is found.cpu else "memory" if options is found.memory
                         else "egress": each.value}, (), limits(), clone=True)  # fmt: skip
            assert isinstance(wish, Wish)


def test_nothing_to_choose_is_not_shown() -> None:
    only = limits(cpu=0.5, memory_bytes=GIB // 2, ground=Ground(frozenset({Policy.INTERNET})))
    found = choices(only, cpu=0.5, memory=512 << 20, egress="internet", filtered=True, clone=False)
    assert found == Choices()
    assert choices(None, cpu=2.0, memory=2 << 30, egress="internet", filtered=False, clone=True) == Choices(
        clone=True
    )
