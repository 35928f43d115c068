"""The pure parts of the rules inside a workspace: facts, wishes, warnings, files, requests of a kernel."""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persistent_terminal_hub import keep_alive, policy, rules_file
from persistent_terminal_hub.policy import Rules
from persistent_terminal_hub.rules_file import (
    NO_RULES,
    BadRules,
    read_rules,
    rules_hash,
    rules_of,
    rules_to_json,
    write_rules,
)
from persistent_terminal_hub.server import rules_facts
from persistent_terminal_hub.server.errors import SessionError
from persistent_terminal_hub.server.keeper_lock import RulesClock
from persistent_terminal_hub.server.presence import kernel_request
from persistent_terminal_hub.server.rules_stock import is_between_sequences, title_sequence
from persistent_terminal_hub.server.rules_wishes import check_wishes, keep_alive_seconds, room_to_extend

HOUR = 3600.0


def model(**more: Any) -> dict[str, Any]:
    """A session as the keeper tells it."""
    return {
        "id": "ab", "name": "run", "created": [1e9, 100.0], "attached": 0, "busy": False, "busy_since": None,
        "exit": None, "meta": {}, **more,
    }  # fmt: skip


def facts(now: float = 1000.0, **more: Any) -> policy.SessionFacts:
    return rules_facts.facts_of_model(model(**more), now)


def test_facts_are_durations_of_the_monotonic_clock() -> None:
    busy = model(
        busy=True, busy_since=[5e9, 700.0], meta={"ttl": 60, "extended": 5, "warned": {"ttl": 990.0}}
    )
    clock = RulesClock(presence=400.0, connected=500.0, started=50.0)
    found = rules_facts.workspace_facts(
        [busy, model(id="cd", exit={"code": 0})],
        clock,
        now=1000.0,
        locked=False,
        kernels_busy_since=None,
        last_busy=900.0,
        warned={"idle_stop": 995.0},
    )
    assert (found.age, found.since_presence, found.since_connected) == (950.0, 600.0, 500.0)
    assert found.since_busy == 0.0  # the session's job
    assert not found.busy
    here = RulesClock(presence=400.0, connected=999.99, started=50.0, is_connected=True)
    rest: dict[str, Any] = {"locked": False, "kernels_busy_since": None, "last_busy": None, "warned": {}}
    # Not a moment ago: now. The policy tells these apart.
    assert rules_facts.workspace_facts([], here, now=1000.0, **rest).since_connected == 0.0
    assert found.warned == {"idle_stop": 5.0}
    (session,) = found.sessions  # the one that ended is none
    assert (session.age, session.busy_for, session.ttl, session.extended) == (900.0, 300.0, 60.0, 5.0)
    assert session.warned == {"ttl": 10.0}


@given(
    st.dictionaries(
        st.sampled_from(["ttl", "max_age", "extended", "warned"]),
        st.recursive(
            st.none() | st.booleans() | st.floats() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2)
            ),
            max_leaves=4,
        ),
    )
)
def test_nonsense_in_a_sessions_meta_is_nothing(meta: dict[str, Any]) -> None:
    found = facts(meta=meta)
    for value in (found.ttl, found.max_age, found.extended, *found.warned.values()):
        assert value is None or (math.isfinite(value) and value >= 0)


def test_a_warning_holds_until_presence_makes_it_void() -> None:
    rules = Rules(ttl=HOUR, warn_before=600.0)
    warned = facts(now=100.0 + HOUR - 300, meta={"warned": {"ttl": 100.0 + HOUR - 310}})
    (code, left), *more = rules_facts.warnings_that_hold(warned, HOUR - 300, rules)
    assert (code, left, more) == ("ttl", 300.0, [])
    assert rules_facts.warnings_that_hold(warned, 1.0, rules) == []


@pytest.mark.parametrize(
    ("rules", "ttl", "allowed"),
    [
        (Rules(ttl=HOUR), HOUR, True),
        (Rules(ttl=HOUR), HOUR + 1, False),
        (Rules(ttl=HOUR), 0.0, False),  # never
        (Rules(ttl=HOUR, max_ttl=2 * HOUR), 2 * HOUR, True),
        (Rules(ttl=HOUR, max_ttl=2 * HOUR), 0.0, False),
        (Rules(ttl=0.0), 0.0, True),
        (Rules(ttl=0.0), 1e9, True),
    ],
)
def test_a_wish_for_a_ttl_is_within_the_maximum(rules: Rules, ttl: float, allowed: bool) -> None:
    if allowed:
        assert check_wishes(rules, ttl, None) == {"ttl": ttl}
    else:
        with pytest.raises(SessionError, match="ttlSeconds"):
            check_wishes(rules, ttl, None)


def test_a_wish_for_an_age_is_within_the_maximum() -> None:
    assert check_wishes(Rules(max_age=HOUR), None, HOUR) == {"max_age": HOUR}
    assert check_wishes(Rules(), None, 5.0) == {"max_age": 5.0}
    for wish in (0.0, HOUR + 1):
        with pytest.raises(SessionError, match="maxAgeSeconds"):
            check_wishes(Rules(max_age=HOUR), None, wish)


@given(st.floats(0, 1e6), st.floats(0, 1e6), st.none() | st.floats(0, 1e6), st.floats(0, 1e6))
def test_extending_reaches_the_maximum_and_no_further(
    ttl: float, most: float, wish: float | None, extended: float
) -> None:
    rules = Rules(ttl=ttl, max_ttl=most)
    session = facts(meta={"ttl": wish, "extended": extended})
    before = policy.ttl_of(session.ttl, session.extended, rules)
    room = room_to_extend(session, rules)
    after = policy.ttl_of(session.ttl, session.extended + room, rules)
    assert room >= 0
    if math.isfinite(room) and math.isfinite(before):
        assert after <= policy.most_ttl(rules)
        assert after == pytest.approx(before + room, rel=1e-6, abs=1e-3)


def test_a_process_is_watched_within_the_maximum() -> None:
    assert keep_alive_seconds(Rules(keep_alive_max=HOUR), 60.0) == 60.0
    assert keep_alive_seconds(Rules(keep_alive_max=HOUR), 2 * HOUR) == HOUR
    assert keep_alive_seconds(Rules(keep_alive_max=HOUR), None) == HOUR
    assert keep_alive_seconds(Rules(keep_alive_max=0.0), None) > 1e8


# -- files -----------------------------------------------------------------------------------------------


def test_rules_come_back_from_the_file_and_win_over_the_environment(tmp_path: Path) -> None:
    environ = {"PTH_WORKSPACE_ID": "a/", "PTH_RULES": json.dumps({"idle_lock": 60})}
    assert read_rules(tmp_path, environ) == (Rules(idle_lock=60.0), "")
    write_rules(tmp_path, Rules(idle_lock=30.0, ttl=5.0), environ)
    assert read_rules(tmp_path, environ) == (Rules(idle_lock=30.0, ttl=5.0), "")
    # The next start of the workspace brings others; the file was only for this one.
    later = {**environ, "PTH_RULES": json.dumps({"idle_lock": 90})}
    assert read_rules(tmp_path, later) == (Rules(idle_lock=90.0), "")
    assert (tmp_path / rules_file.FILE_NAME).stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [rules_file.FILE_NAME]


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"ttl": -1}', '{"ttl": true}', '{"ttl": NaN}', '{"ttl": "1"}']
)
def test_rules_that_cannot_be_read_lock_as_the_default_does(tmp_path: Path, text: str) -> None:
    rules, trouble = read_rules(tmp_path, {"PTH_WORKSPACE_ID": "a/", "PTH_RULES": text})
    assert rules == Rules() and rules.idle_lock > 0
    assert trouble
    environ = {"PTH_WORKSPACE_ID": "a/", "PTH_RULES": '{"ttl": 7}'}
    write_rules(tmp_path, Rules(), environ)
    file = tmp_path / rules_file.FILE_NAME
    kept = json.loads(file.read_text())
    for damaged in (text, json.dumps({**kept, "rules": {"ttl": "1"}}), json.dumps({"after": kept["after"]})):
        file.write_text(damaged)
        rules, _trouble = read_rules(tmp_path, environ)
        assert rules == Rules(ttl=7.0)


def test_a_server_without_a_hub_has_no_rules(tmp_path: Path) -> None:
    assert read_rules(tmp_path, {}) == (NO_RULES, "")
    (tmp_path / rules_file.FILE_NAME).write_text("{")
    assert read_rules(tmp_path, {}) == (NO_RULES, "")
    quiet = policy.WorkspaceFacts(
        taken=0.0, state="running", age=1e9, since_presence=1e9, since_connected=1e9
    )
    assert policy.decide(quiet, NO_RULES, 0.0) == []


@given(st.builds(Rules, idle_lock=st.integers(0, 10**6), ttl=st.floats(0, 1e6), max_age=st.just(0.0)))
def test_what_the_hub_writes_is_read(rules: Rules) -> None:
    found, trouble = read_rules(Path("/nonexistent"), {"PTH_RULES": rules_to_json(rules)})
    assert (found, trouble) == (rules, "")
    assert rules_hash(found) == rules_hash(rules)


def test_rules_are_numbers_and_equal_ones_have_one_name() -> None:
    assert rules_hash(rules_of({"ttl": 30})) == rules_hash(rules_of({"ttl": 30.0, "what": "ever"}))
    assert rules_hash(Rules(ttl=30)) != rules_hash(Rules(ttl=31))
    with pytest.raises(BadRules):
        rules_of([])


# -- kernels ---------------------------------------------------------------------------------------------


def v1(kind: str) -> bytes:
    parts = [b"shell", json.dumps({"msg_type": kind}).encode(), b"{}", b"{}", b"{}"]
    offsets = [8 * (len(parts) + 2)]
    for part in parts:
        offsets.append(offsets[-1] + len(part))
    return struct.pack(f"<{len(offsets) + 1}Q", len(offsets), *offsets) + b"".join(parts)


def legacy(kind: str, **more: Any) -> str:
    return json.dumps(
        {"header": {"msg_type": kind}, "content": {"code": '"msg_type": "execute_request"'}, **more}
    )


V1 = "v1.kernel.websocket.jupyter.org"


@pytest.mark.parametrize("kind", ["execute_request", "input_reply", "complete_request", "inspect_request"])
def test_what_a_person_asks_of_a_kernel(kind: str) -> None:
    assert kernel_request(v1(kind), V1)
    assert kernel_request(legacy(kind), None)
    body = legacy(kind).encode()
    assert kernel_request(struct.pack("!II", 1, 8) + body, "")
    assert kernel_request(struct.pack("!III", 2, 12, 12 + len(body)) + body + b"buffer", "")


@pytest.mark.parametrize(
    "kind", ["kernel_info_request", "comm_msg", "history_request", "is_complete_request"]
)
def test_what_a_page_asks_by_itself(kind: str) -> None:
    assert not kernel_request(v1(kind), V1)
    assert not kernel_request(legacy(kind), None)


@given(st.binary(max_size=200) | st.text(max_size=100), st.sampled_from([V1, None, ""]))
def test_nonsense_to_a_kernel_is_nobody(message: bytes | str, subprotocol: str | None) -> None:
    assert not kernel_request(message, subprotocol)


# -- the title of a stock terminal -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "tail", [b"", b"text\r\n", b"\x1b[31mred\x1b[0m", "ä€".encode(), b"\x1b]0;t\x07", b"\xff\xfe"]
)
def test_there_is_room_for_a_title(tail: bytes) -> None:
    assert is_between_sequences(tail)


@pytest.mark.parametrize(
    "tail", [b"\x1b", b"a\x1b[31", b"\x1b]0;tit", b"\x1bPabc", "€".encode()[:2], b"x\xc3", b"\x1b("]
)
def test_a_title_would_tear_this(tail: bytes) -> None:
    assert not is_between_sequences(tail)


def test_a_title_holds_no_control() -> None:
    assert title_sequence("a\x1b]b\x07\nc") == "\x1b]2;a ]b  c\x07"


# -- the command ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("4h", 14400), ("1d12h", 129600), ("90m", 5400), ("300", 300), ("5s", 5), (" 1H ", 3600)],
)
def test_durations(text: str, seconds: float) -> None:
    assert keep_alive.seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "h", "soon", "-1h", "1.5h", "0", "1h1d", "٤h", "9" * 30])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(keep_alive.Failed, match=r"\.$"):
        keep_alive.seconds_of(text)


def test_keep_alive_outside_a_workspace_says_where_it_belongs(tmp_path: Path) -> None:
    for environ in (
        {},
        {"PTH_RUNTIME_DIR": str(tmp_path)},
        {"PTH_RUNTIME_DIR": str(tmp_path), "PTH_SESSION_ID": "a"},
    ):
        with pytest.raises(keep_alive.Failed, match=r"\.$"):
            keep_alive.keep_alive(1, None, None, environ)
