"""The list of objects among the settings: `rules`, from a file, from the environment, printed."""

# ruff: noqa: E501 - the tables of cases read best one case a line

from __future__ import annotations

from pathlib import Path

import pytest

from persistent_terminal_hub.config.text import reference_page, to_yaml
from persistent_terminal_hub.settings import (
    RuleSettings,
    SettingsError,
    dump_settings,
    explain_settings,
    load_settings,
    problems_for_serving,
)

FILE = """\
rules:
  - groups: [data-team]
    idleLockMinutes: 10
  # the machines that cost
  - {workspaces: ["*/gpu-*"], idle_stop_minutes: 30, ttlSeconds: 3600}
"""
ENTRIES = (
    RuleSettings(groups=frozenset({"data-team"}), idle_lock_minutes=10),
    RuleSettings(workspaces=frozenset({"*/gpu-*"}), idle_stop_minutes=30, ttl_seconds=3600),
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "hub.yaml"


def refused(file: Path, text: str, environ: dict[str, str] | None = None) -> list[str]:
    file.write_text(text)
    with pytest.raises(SettingsError) as caught:
        load_settings(file, environ or {})
    return [problem.replace(str(file), "hub.yaml") for problem in caught.value.problems]


def test_entries_are_read_in_their_order_and_in_both_spellings(file: Path) -> None:
    file.write_text(FILE)
    assert load_settings(file, {}).rules == ENTRIES


@pytest.mark.parametrize("text", ["rules: []", "rules:\n", "rules: ~"])
def test_no_entries(file: Path, text: str) -> None:
    file.write_text(text)
    assert load_settings(file, {}).rules == ()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("rules: 5", "hub.yaml:1:8: rules must be a list of entries, each after a dash (-)."),
        ("rules: {users: [a]}", "hub.yaml:1:8: rules must be a list of entries, each after a dash (-)."),
        ("rules:\n  - [a]", "hub.yaml:2:5: each entry of rules must be a group of keys (groups, users, workspaces,"
         " ttlSeconds, maxTtlSeconds, maxAgeSeconds, idleLockMinutes, reauthOnReconnect, warnSeconds,"
         " keepAliveMaxMinutes, maxCpuSeconds, maxMemory, idleStopMinutes, workspaceMaxAgeMinutes,"
             " removeStoppedAfterDays)."),
        ("rules:\n  - users: [a]\n    idleLokMinutes: 5", "hub.yaml:3:5: rules.idleLokMinutes is not a setting;"
         " did you mean rules.idleLockMinutes?"),
        ("rules:\n  - user: [a]", "hub.yaml:2:5: rules.user is not a setting; did you mean rules.users?"),
        ("rules:\n  - users: [a]\n  - users: bob", "hub.yaml:3: rules.users must be a list of texts, not text."),
        ("rules:\n  - users: [7]", "hub.yaml:2: rules.users must hold texts only, not a number; put it in quotes."),
        ("rules:\n  - {}\n  - users: [a]\n    ttlSeconds: 5", "hub.yaml:4: rules.ttlSeconds must be at least 60."),
        ("rules:\n  - ttlSeconds: soon", "hub.yaml:2: rules.ttlSeconds must be a whole number, not text."),
        ("rules:\n  - idleLockMinutes: -1", "hub.yaml:2: rules.idleLockMinutes must be at least 0."),
        ("rules:\n  - ttlSeconds: 60\n    ttl_seconds: 60", "hub.yaml:3:5: rules.ttlSeconds is given as ttlSeconds"
         " and as ttl_seconds, which are the same setting (first on line 2); keep one."),
        ("rules:\n  - ttlSeconds:", "hub.yaml:2:16: rules.ttlSeconds has no value; give it one or remove the key."),
        ("session: {idleStopMinutes: 5}", "hub.yaml:1:11: session.idleStopMinutes is not a setting;"
         " did you mean culler.idleStopMinutes?"),
    ],
)  # fmt: skip
def test_bad_entries_are_refused_with_their_line(file: Path, text: str, problem: str) -> None:
    assert refused(file, text) == [problem]


def test_the_environment_gives_them_as_json_and_replaces_the_file(file: Path) -> None:
    file.write_text(FILE)
    loaded = explain_settings(file, {"PTH_RULES": '[{"users": ["ada"], "ttl_seconds": 90}]'})
    assert loaded.settings.rules == (RuleSettings(users=frozenset({"ada"}), ttl_seconds=90),)
    assert loaded.origins["rules",] == "environment, PTH_RULES"
    assert load_settings(file, {"PTH_RULES": ""}).rules == ()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[", "PTH_RULES is not valid JSON; it must be a list of objects, as [{...}]."),
        ("[" * 99999, "PTH_RULES is not valid JSON; it must be a list of objects, as [{...}]."),
        ("[1]", "PTH_RULES must be a JSON list of objects, as [{...}]."),
        ('{"ttl": 5}', "PTH_RULES must be a JSON list of objects; an object is what a hub gives its workspaces:"
         " unset the variable here."),
        ('[{}, {"usrs": []}]', "PTH_RULES: entry 2: rules.usrs is not a setting; did you mean users?"),
        ('[{}, {"users": "ada"}]', "PTH_RULES: entry 2: rules.users must be a list of texts, not text."),
        ('[{"ttlSeconds": true}]', "PTH_RULES: entry 1: rules.ttlSeconds must be a whole number, not true or false."),
        ('[{"ttlSeconds": 90, "ttl_seconds": 90}]', "PTH_RULES: entry 1: rules.ttlSeconds is given in two spellings;"
         " keep one."),
        ('[{"users": ["\ud800"]}]', "PTH_RULES: rules must be plain text on one line, without control characters."),
    ],
)  # fmt: skip
def test_bad_json_is_refused_with_its_entry(file: Path, text: str, problem: str) -> None:
    assert refused(file, FILE, {"PTH_RULES": text}) == [problem]


def test_they_are_printed_with_their_lines_and_load_back(file: Path) -> None:
    file.write_text(FILE)
    loaded = explain_settings(file, {})
    lines = [" ".join(line.split()) for line in to_yaml(loaded.settings, origins=loaded.origins).splitlines()]
    assert "rules: # file, line 1" in lines
    assert "- {groups: [data-team], idleLockMinutes: 10} # file, line 2" in lines
    again = file.with_name("again.yaml")
    again.write_text(dump_settings(loaded.settings))
    assert load_settings(again, {}) == loaded.settings


def test_placeholders_in_them_are_found(file: Path) -> None:
    file.write_text("rules:\n  - groups: [<YOUR_GROUP>]\n")
    assert problems_for_serving(load_settings(file, {})) == [
        "rules.groups is still the placeholder of an example; put in the real value."
    ]


def test_the_reference_lists_them() -> None:
    page = reference_page()
    assert "## rules" in page
    assert "| `idleStopMinutes` | a number from 0 to 5,256,000 | As `culler.idleStopMinutes`. |" in page
    assert "PTH_RULES__" not in page
