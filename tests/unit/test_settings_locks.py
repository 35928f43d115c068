"""Locks that nobody could open are refused, and what is warned of about rules."""

# ruff: noqa: E501 - the tables of cases read best one case a line

from __future__ import annotations

from pathlib import Path

import pytest

from persistent_terminal_hub.config.presets import PRESETS, preset_of
from persistent_terminal_hub.config.unlocking import allows_passkeys, public_url
from persistent_terminal_hub.settings import (
    ServerSettings,
    Settings,
    TlsSettings,
    load_settings,
    problems_for_serving,
    warnings_of,
)

TLS = TlsSettings(cert_file=Path("c"), key_file=Path("k"))
LOGIN = {"clientId": "a", "clientSecret": "s", "allowedUsers": ["ada"]}
NAMED = {"publicUrl": "https://hub.example.org"}


def settings(provider: str, **groups: object) -> Settings:
    auth = {"provider": provider, **(LOGIN if provider != "local" else {}), **groups.pop("auth", {})}  # type: ignore[dict-item]
    if provider == "oauth2":
        auth["issuer"] = "https://id.example.org"
    return Settings.model_validate({"auth": auth, **groups})


def test_who_proves_a_fresh_login() -> None:
    assert {name: preset.proves_fresh_login for name, preset in PRESETS.items()} == {
        "oauth2": True, "google": False, "github": False,
    }  # fmt: skip
    assert preset_of("local").proves_fresh_login


@pytest.mark.parametrize(
    ("server", "url", "allowed"),
    [
        ({}, "http://127.0.0.1:8000", False),
        ({"host": "localhost"}, "http://localhost:8000", True),
        ({"host": "0.0.0.0", "port": 443, "tls": TLS}, "https://0.0.0.0", False),
        ({"host": "hub.example.org", "port": 443, "tls": TLS}, "https://hub.example.org", True),
        ({"host": "hub.example.org"}, "http://hub.example.org:8000", False),
        ({"host": "::1", "port": 80}, "http://[::1]", False),
        ({"public_url": "https://hub.example.org/"}, "https://hub.example.org", True),
        ({"public_url": "http://hub.example.org"}, "http://hub.example.org", False),
        ({"public_url": "https://10.0.0.5"}, "https://10.0.0.5", False),
        ({"public_url": "https://[fd00::1]:8443"}, "https://[fd00::1]:8443", False),
        ({"public_url": "http://hub.localhost:1"}, "http://hub.localhost:1", True),
        ({"public_url": "https://localhost.:1"}, "https://localhost.:1", True),
        ({"public_url": "https://"}, "https:", False),
        ({"public_url": "https://[x"}, "https://[x", False),
    ],
)
def test_where_browsers_allow_passkeys(server: dict[str, object], url: str, allowed: bool) -> None:
    address = public_url(Settings(server=ServerSettings.model_validate(server)))
    assert (address, allows_passkeys(address)) == (url, allowed)


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (settings("github", session={"idleLockMinutes": 30}), "session.idleLockMinutes would lock workspaces that nobody"
         " could open again: GitHub cannot prove a fresh login, and browsers allow no passkeys at http://127.0.0.1:8000,"
         " only at https addresses with a name and at localhost. Set server.publicUrl to the address that people type,"
         " as https://hub.example.org, or turn the lock off (set session.idleLockMinutes to 0)."),
        (settings("google", session={"idleLockMinutes": 0, "reauthOnReconnect": 60}), "session.reauthOnReconnect would"
         " lock workspaces that nobody could open again: Google cannot prove a fresh login, and browsers allow no"
         " passkeys at http://127.0.0.1:8000, only at https addresses with a name and at localhost. Set server.publicUrl"
         " to the address that people type, as https://hub.example.org, or turn the lock off (set"
         " session.reauthOnReconnect to 0)."),
        (settings("github", server=NAMED, auth={"passkeys": False}, rules=[{}, {"idleLockMinutes": 5}]),
         "rules.idleLockMinutes (entry 2) would lock workspaces that nobody could open again: GitHub cannot prove a fresh"
         " login, and passkeys are off. Set auth.passkeys: true, or turn the lock off (set rules.idleLockMinutes"
         " (entry 2) to 0)."),
    ],
)  # fmt: skip
def test_a_lock_that_was_asked_for_and_nobody_could_open_is_refused(given: Settings, problem: str) -> None:
    assert problems_for_serving(given) == [problem]
    assert problem in warnings_of(given)


@pytest.mark.parametrize(
    "given",
    [
        settings("local", session={"idleLockMinutes": 30, "reauthOnReconnect": 60}, auth={"passkeys": False}),
        settings("oauth2", session={"idleLockMinutes": 30}, auth={"passkeys": False}),
        settings("github", session={"idleLockMinutes": 30}, server=NAMED),
        settings("google", session={"idleLockMinutes": 30}, server={"host": "localhost"}),
        settings("github", session={"idleLockMinutes": 0}),
        settings("github"),
        settings("github", rules=[{"idleLockMinutes": 0, "reauthOnReconnect": 0}]),
    ],
)
def test_locks_that_somebody_can_open_are_served(given: Settings) -> None:
    assert problems_for_serving(given) == []


def test_the_untouched_default_is_off_with_a_warning_where_nobody_could_open_it() -> None:
    def said(given: Settings) -> list[str]:
        return [warning for warning in warnings_of(given) if "do not lock" in warning]

    assert said(settings("github")) == [
        "Workspaces do not lock when idle, because nobody could open them again: GitHub cannot prove a fresh login, "
        "and browsers allow no passkeys at http://127.0.0.1:8000, only at https addresses with a name and at "
        "localhost. Set server.publicUrl to the address that people type, as https://hub.example.org, or set "
        "session.idleLockMinutes: 0 to say that this is meant."
    ]
    for quiet in (
        settings("local"),
        settings("github", server=NAMED),
        settings("github", session={"idleLockMinutes": 0}),
    ):
        assert said(quiet) == []


def test_a_default_in_the_environment_is_asked_for(tmp_path: Path) -> None:
    environ = {"PTH_AUTH__PROVIDER": "github", "PTH_AUTH__CLIENT_ID": "a", "PTH_AUTH__CLIENT_SECRET": "s"}
    assert problems_for_serving(load_settings(environ=environ)) == []
    assert problems_for_serving(load_settings(environ={**environ, "PTH_SESSION__IDLE_LOCK_MINUTES": "30"}))


@pytest.mark.parametrize(
    "url", ["hub.example.org", "ftp://hub", "https://", "https://a:b@hub", "https://hub?x", "https://[x", "https://h:99999"]
)  # fmt: skip
def test_a_public_url_is_an_address(url: str) -> None:
    problems = problems_for_serving(settings("local", server={"publicUrl": url}))
    assert problems == [
        "server.publicUrl must be an address such as https://hub.example.org, and nothing after it."
    ]


def test_a_public_url_has_the_path_of_the_base_url() -> None:
    assert problems_for_serving(settings("local", server={"publicUrl": "https://h/x", "baseUrl": "x"})) == []
    assert problems_for_serving(settings("local", server={"publicUrl": "https://h/x"})) == [
        "server.publicUrl must not have a path of its own; server.baseUrl says the path."
    ]


@pytest.mark.parametrize(
    ("given", "part"),
    [
        (settings("local", session={"maxTtlSeconds": 3600}), "session.ttlSeconds 86400 is more than the maximum, 3600"),
        (settings("local", session={"maxTtlSeconds": 100000}, rules=[{"ttlSeconds": 200000}]), "rules.ttlSeconds (entry 1) 200000 is more than the maximum, 100000"),
        (settings("local", rules=[{"users": ["ada"], "maxTtlSeconds": 60}]), "rules.ttlSeconds (entry 1) 86400 is more than the maximum, 60"),
        (settings("local", culler={"idleStopMinutes": 60, "removeStoppedAfterDays": 7}), "culler.removeStoppedAfterDays also removes"),
        (settings("local", culler={"removeStoppedAfterDays": 7}, rules=[{"idleStopMinutes": 60}]), "culler.removeStoppedAfterDays also removes"),
        (settings("local", culler={"idleStopMinutes": 60, "enabled": False}), "culler.enabled is false"),
        (settings("local", culler={"intervalSeconds": 5}), "culler.timeoutSeconds 5 is not shorter than"),
        (settings("local", session={"reauthOnReconnect": 9}), "session.reauthOnReconnect is less than 10 seconds"),
        (settings("local", rules=[{"reauthOnReconnect": 9}]), "rules.reauthOnReconnect (entry 1) is less than 10"),
        (settings("local", rules=[{"users": ["ada"]}]), "rules (entry 1) changes nothing"),
        (settings("local", rules=[{}, {"users": ["Ada"], "ttlSeconds": 60}]), "rules (entry 2) names a user who cannot be"),
        (settings("local", rules=[{"workspaces": ["gpu"], "ttlSeconds": 60}]), "without a slash, which matches nothing; write */gpu."),
        (settings("local", rules=[{"users": ["ada"], "workspaces": ["bob/*"], "ttlSeconds": 60}]), "its pattern bob/* is of none of its users"),
        (settings("github", server=NAMED, rules=[{"groups": ["g"], "ttlSeconds": 60}]), "names groups, but GitHub lists none"),
    ],
)  # fmt: skip
def test_what_is_warned_of(given: Settings, part: str) -> None:
    assert any(part in warning for warning in warnings_of(given)), warnings_of(given)
    assert problems_for_serving(given) == []


@pytest.mark.parametrize(
    "given",
    [
        settings("local", rules=[{"groups": ["g"], "workspaces": ["*/gpu-*", "ada*", "*"], "ttlSeconds": 60}]),
        settings("local", rules=[{"users": ["ada"], "workspaces": ["a*/x", "gpu*"], "idleLockMinutes": 0}]),
        settings("local", session={"maxTtlSeconds": 86400, "reauthOnReconnect": 10}, culler={"idleStopMinutes": 60}),
    ],
)  # fmt: skip
def test_what_is_in_order_is_not_warned_of(given: Settings) -> None:
    assert warnings_of(given) == []
