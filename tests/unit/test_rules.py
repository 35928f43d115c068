"""Which rules hold for a workspace, and rules on their way there."""

# ruff: noqa: E501 - the tables of cases read best one case a line

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from persistent_terminal_hub.config.rules import rules_for, rules_in_workspace
from persistent_terminal_hub.hub.workspace_rules import rules_environment
from persistent_terminal_hub.policy import Rules
from persistent_terminal_hub.rules_file import BadRules, read_rules, rules_of, rules_to_json
from persistent_terminal_hub.settings import Settings


def settings(*rules: dict[str, object], **groups: object) -> Settings:
    return Settings.model_validate({**groups, "rules": rules})


def test_the_defaults_are_those_of_the_policy_but_for_the_interval() -> None:
    assert rules_for(Settings(), "ada", [], "") == Rules(fresh=60)


def test_every_setting_arrives_in_seconds() -> None:
    given_settings = settings(
        session={"ttlSeconds": 90, "maxTtlSeconds": 200, "maxAgeSeconds": 300, "idleLockMinutes": 1.5,
                 "reauthOnReconnect": 4, "warnSeconds": 5, "keepAliveMaxMinutes": 6},
        culler={"idleStopMinutes": 7, "workspaceMaxAgeMinutes": 8, "removeStoppedAfterDays": 0.5, "intervalSeconds": 10},
    )  # fmt: skip
    assert rules_for(given_settings, "ada", [], "") == Rules(
        idle_lock=90, reauth_on_reconnect=4, ttl=90, max_ttl=200, max_age=300, idle_stop=420, workspace_max_age=480,
        remove_after=43200, warn_before=5, keep_alive_max=360, fresh=10,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("entry", "user", "groups", "workspace", "expected"),
    [
        ({}, "ada", [], "", True),
        ({"users": ["ada"]}, "ada", [], "", True),
        ({"users": ["ada"]}, "adam", [], "", False),
        ({"groups": ["a", "b"]}, "ada", ["b"], "", True),
        ({"groups": ["a", "b"]}, "ada", [], "", False),
        ({"workspaces": ["ada/*"]}, "ada", [], "", True),
        ({"workspaces": ["ada/"]}, "ada", [], "", True),
        ({"workspaces": ["ada/"]}, "ada", [], "gpu", False),
        ({"workspaces": ["*/gpu-*"]}, "ada", [], "gpu-1", True),
        ({"workspaces": ["*/gpu-*"]}, "ada", [], "ada/gpu-1", True),
        ({"workspaces": ["*/gpu-*"]}, "ada", [], "cpu", False),
        ({"workspaces": ["x/*", "*/cpu"]}, "ada", [], "cpu", True),
        ({"workspaces": ["ADA/*"]}, "ada", [], "cpu", False),
        ({"workspaces": ["*/gpu"], "groups": ["g"]}, "ada", ["g"], "gpu", True),
        ({"workspaces": ["*/gpu"], "groups": ["g"]}, "ada", ["g"], "cpu", False),
        ({"workspaces": ["*/gpu"], "groups": ["g"]}, "ada", [], "gpu", False),
    ],
)  # fmt: skip
def test_an_entry_matches_when_each_list_that_it_has_does(
    entry: dict[str, object], user: str, groups: list[str], workspace: str, expected: bool
) -> None:
    rules = rules_for(settings({**entry, "idleLockMinutes": 1}), user, groups, workspace)
    assert (rules.idle_lock == 60) is expected


def test_later_entries_win_key_by_key_and_zero_is_a_value() -> None:
    given_settings = settings(
        {"idleLockMinutes": 5, "ttlSeconds": 600},
        {"groups": ["g"], "idleLockMinutes": 0},
        {"users": ["ada"], "ttlSeconds": 700, "idleStopMinutes": 9},
        {"users": ["bob"], "ttlSeconds": 800},
    )
    rules = rules_for(given_settings, "ada", ["g"], "w")
    assert (rules.idle_lock, rules.ttl, rules.idle_stop) == (0, 700, 540)
    assert rules_for(given_settings, "eve", [], "w").idle_lock == 300


def test_the_administrators_maximum_holds_over_a_ttl() -> None:
    given_settings = settings({"users": ["ada"], "ttlSeconds": 9000}, session={"maxTtlSeconds": 3600})
    assert rules_for(given_settings, "ada", [], "").ttl == 3600
    assert rules_for(given_settings, "bob", [], "").ttl == 3600
    wider = settings({"maxTtlSeconds": 0}, session={"maxTtlSeconds": 3600})
    assert rules_for(wider, "ada", [], "").ttl == 86400


def test_a_workspace_is_told_of_no_stop_that_nobody_will_carry_out() -> None:
    stops = {"idleStopMinutes": 5, "workspaceMaxAgeMinutes": 6, "removeStoppedAfterDays": 7}
    for culler in ({"enabled": False}, {"dryRun": True}):
        quiet = settings(culler={**stops, **culler})
        told = rules_in_workspace(quiet, "ada", [], "")
        assert (told.idle_stop, told.workspace_max_age, told.remove_after) == (0, 0, 0)
        assert rules_for(quiet, "ada", [], "").idle_stop == 300  # which a dry run reports
    assert rules_in_workspace(settings(culler=stops), "ada", [], "").idle_stop == 300


def test_a_default_lock_that_nobody_could_open_is_off() -> None:
    github = {"provider": "github"}
    assert rules_for(settings(auth=github), "ada", [], "").idle_lock == 0
    assert rules_for(settings(auth=github, session={"idleLockMinutes": 30}), "ada", [], "").idle_lock == 1800
    named = settings(auth=github, server={"publicUrl": "https://hub.example.org"})
    assert rules_for(named, "ada", [], "").idle_lock == 1800


# ---- JSON


def told(text: str) -> tuple[Rules, str]:
    """What a workspace makes of what the hub gave it."""
    return read_rules(Path("/nonexistent"), {"PTH_RULES": text})


@given(
    st.builds(Rules, **{name: st.floats(0, 315_360_000) for name in ("idle_lock", "ttl", "max_age", "fresh")})
)
@hypothesis_settings(max_examples=50, deadline=None)
def test_rules_survive_the_way(rules: Rules) -> None:
    assert rules_of(json.loads(rules_to_json(rules))) == rules
    assert told(rules_to_json(rules)) == (rules, "")


def test_what_is_not_named_has_its_default_and_of_a_newer_hub_the_rest_counts() -> None:
    assert told('{"idle_lock": 5, "ttl": null, "of_tomorrow": 3}') == (Rules(idle_lock=5), "")
    assert told("{}") == (Rules(), "")


@pytest.mark.parametrize(
    "text",
    [
        "", "nonsense-zq", "[" * 3000, "[]", "3", '{"idle_lock": "5"}', '{"idle_lock": true}',
        '{"idle_lock": -1}', '{"idle_lock": 1e999}', '{"idle_lock": 9999999999999}', '{"idle_lock": NaN}',
        '{"idle_lock": Infinity}', '{"ttl": ' + "9" * 5000 + "}",
    ],
)  # fmt: skip
def test_rules_that_are_none_are_refused_whole(text: str) -> None:
    rules, problem = told(text)
    assert rules == Rules() and rules.idle_lock > 0, "it locks"
    assert "PTH_RULES is not readable" in problem and "zq" not in problem


@given(
    st.recursive(st.none() | st.booleans() | st.floats() | st.text(), lambda inner: st.lists(inner))
    | st.dictionaries(st.sampled_from(["ttl", "x"]), st.floats() | st.text() | st.none())
)
@hypothesis_settings(max_examples=100, deadline=None)
def test_junk_raises_nothing_but_bad_rules(model: object) -> None:
    try:
        assert isinstance(rules_of(model), Rules)
    except BadRules as error:
        assert str(error).endswith(".")


# ---- the hub's part


def test_a_spawner_gives_the_workspace_the_rules_of_its_user_and_groups() -> None:
    given_settings = settings(
        {"groups": ["data-team"], "ttlSeconds": 600}, {"workspaces": ["ada/gpu"], "idleLockMinutes": 1}
    )
    ada = SimpleNamespace(name="ada", groups=[SimpleNamespace(name="data-team")])
    for server, lock in (("gpu", 60), ("", 1800)):
        environment = rules_environment(given_settings, SimpleNamespace(user=ada, name=server))
        assert list(environment) == ["PTH_RULES"]
        rules, problem = told(environment["PTH_RULES"])
        assert (rules.ttl, rules.idle_lock, problem) == (600, lock, "")


def test_a_session_may_use_so_much() -> None:
    settings = Settings.model_validate(
        {
            "session": {"maxCpuSeconds": 60, "maxMemory": "2G"},
            "rules": [{"users": ["ada"], "maxMemory": "512M"}, {"users": ["bob"], "maxMemory": ""}],
        }
    )
    found = {user: rules_for(settings, user, (), "") for user in ("ada", "bob", "eve")}
    assert {user: rules.max_memory for user, rules in found.items()} == {"ada": 512, "bob": 0, "eve": 2048}
    assert {rules.max_cpu for rules in found.values()} == {60}
    for bad in ("5", "0M", "-1G", "5K", "1000000T"):
        with pytest.raises(ValueError, match="must be a size"):
            Settings.model_validate({"session": {"maxMemory": bad}})
