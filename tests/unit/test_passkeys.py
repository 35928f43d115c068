"""Passkeys without a hub: the store, what is needed before a change, hostile answers, the command line."""

from __future__ import annotations

import json
import secrets
import sqlite3
import stat
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from webauthn.helpers import bytes_to_base64url

from persistent_terminal_hub.cli import main
from persistent_terminal_hub.hub import passkey_failures as failures
from persistent_terminal_hub.hub.moments import Moments
from persistent_terminal_hub.hub.passkey_proofs import Expected, judge_assertion, judge_registration
from persistent_terminal_hub.hub.passkey_rules import (
    Needed,
    Site,
    clean_name,
    needed_to_change,
    site_of,
    user_handle,
)
from persistent_terminal_hub.hub.passkey_store import Passkey, PasskeyStore, PasskeyStoreError
from tests.support.authenticator import PRESENT, VERIFIED, Authenticator

HERE = Site("hub.example.org", "https://hub.example.org")
HANDLE = user_handle("0123", "alice")


def passkey(user: str = "alice", **changes: Any) -> Passkey:
    made = Passkey(secrets.token_bytes(16), user, HERE.rp_id, b"key", 0, "Laptop", 1.0)
    return replace(made, **changes)


@pytest.fixture
def store(tmp_path: Path) -> PasskeyStore:
    return PasskeyStore(tmp_path / "passkeys.sqlite")


# -- the store ----------------------------------------------------------------------------------------


def test_the_store_keeps_what_it_was_given_over_a_restart(store: PasskeyStore) -> None:
    assert store.of("alice") == []
    assert store.forget("alice") == 0 and not store.path.exists()
    mine, other = passkey(transports=("internal", "hybrid")), passkey("bob", created=2.0)
    assert store.add(mine) and store.add(other)
    assert stat.S_IMODE(store.path.stat().st_mode) == 0o600
    again = PasskeyStore(store.path)
    assert again.of("alice") == [mine]
    assert again.everybody() == [mine, other]
    assert not again.add(replace(other, user="alice")), "one credential, one user"
    assert again.remove("alice", other.id) is None
    assert again.remove("alice", mine.id) == mine
    assert again.forget("bob") == 1 and again.everybody() == []


@pytest.mark.parametrize(
    ("kept", "said", "accepted"),
    [(0, 0, True), (0, 1, True), (5, 6, True), (5, 5, False), (5, 4, False), (5, 0, False)],
)
def test_a_counter_only_goes_on(store: PasskeyStore, kept: int, said: int, accepted: bool) -> None:
    mine = passkey(sign_count=kept)
    store.add(mine)
    assert store.used("alice", mine.id, said, 9.0) is accepted
    now = store.of("alice")[0]
    assert (now.sign_count, now.last_used) == ((said, 9.0) if accepted else (kept, None))
    assert not store.used("bob", mine.id, 100, 9.0)


def test_of_two_uses_at_once_with_one_counter_one_is_refused(store: PasskeyStore) -> None:
    mine = passkey(sign_count=5)
    store.add(mine)
    results: list[bool] = []
    threads = [
        threading.Thread(target=lambda: results.append(store.used("alice", mine.id, 6, 9.0)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [False, False, False, True]


def test_a_store_that_cannot_be_used_is_a_sentence(store: PasskeyStore) -> None:
    store.path.write_bytes(b"not a database at all, but long enough to look like one" * 100)
    with pytest.raises(PasskeyStoreError, match="cannot be used"):
        store.of("alice")
    with pytest.raises(PasskeyStoreError, match="cannot be used"):
        PasskeyStore(store.path.parent / "missing" / "x").add(passkey())
    store.path.unlink()
    with sqlite3.connect(store.path) as newer:
        newer.execute("PRAGMA user_version = 2")
    with pytest.raises(PasskeyStoreError, match="newer version"):
        store.add(passkey())


# -- decisions ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("public", "protocol", "host", "site"),
    [
        ("https://hub.example.org/", "http", "127.0.0.1:8000", HERE),
        ("https://Hub.Example.org:8443", "http", "x", Site("hub.example.org", "https://hub.example.org:8443")),
        ("https://hub.example.org:443", "http", "x", HERE),
        ("https://bücher.example", "http", "x", Site("xn--bcher-kva.example", "https://xn--bcher-kva.example")),
        ("", "https", "hub.example.org", HERE),
        ("", "http", "localhost:8000", Site("localhost", "http://localhost:8000")),
        ("", "http", "hub.example.org", None),
        ("", "http", "127.0.0.1:8000", None),
        ("", "https", "192.0.2.7", None),
        ("", "https", "[2001:db8::1]:443", None),
        ("https://192.0.2.7", "https", "hub.example.org", None),
        ("", "https", "evil.example/@hub.example.org", Site("evil.example", "https://evil.example")),
        ("", "https", "hub.example.org:port", None),
        ("", "https", "a b", None),
        ("", "https", "", None),
    ],
)  # fmt: skip
def test_where_passkeys_work(public: str, protocol: str, host: str, site: Site | None) -> None:
    assert site_of(public, protocol, host) == site


@pytest.mark.parametrize(
    ("adding", "proven", "provider", "enrolled", "since", "needed"),
    [
        # A password or the identity provider proves it: always by them, however fresh the login.
        (True, False, True, 0, 1.0, "proof"),
        (True, False, True, 2, None, "proof"),
        (False, False, True, 1, 1.0, "proof"),
        # Nothing but passkeys proves: the first within ten minutes of a login, later ones by the first.
        (True, False, False, 0, 1.0, "nothing"),
        (True, False, False, 0, 600.0, "nothing"),
        (True, False, False, 0, 600.1, "login"),
        (True, False, False, 0, None, "login"),
        (True, False, False, 0, -1.0, "login"),
        (True, False, False, 1, 1.0, "proof"),
        (False, False, False, 1, 1.0, "proof"),
        (False, False, False, 0, 1.0, "login"),
        # Proven a moment ago.
        (True, True, True, 3, None, "nothing"),
        (False, True, False, 1, None, "nothing"),
    ],
)
def test_what_is_needed_before_a_change(
    adding: bool, proven: bool, provider: bool, enrolled: int, since: float | None, needed: Needed
) -> None:
    asked = needed_to_change(
        adding=adding, proven=proven, provider_proves=provider, enrolled=enrolled, since_login=since
    )
    assert asked == needed


@settings(deadline=None)  # a busy machine is no failure
@given(st.text(max_size=200), st.sets(st.text(max_size=70), max_size=3))
def test_a_name_is_one_visible_line_of_its_own(wish: str, taken: set[str]) -> None:
    name = clean_name(wish, taken)
    assert name and name not in taken and name == " ".join(name.split()) and len(name) < 80
    assert name.isprintable() or any(char in wish for char in name)
    assert clean_name("\x1b[2J\n", set()) == "[2J"
    assert clean_name(" \t", {"Passkey"}) == "Passkey 2"


def test_moments_are_forgotten() -> None:
    moments = Moments(10, capacity=2)
    moments.note(("alice", "a"), 0)
    assert moments.since(("alice", "a"), 10) == 10
    assert moments.since(("alice", "a"), 10.1) is None
    assert moments.since(("bob", "a"), 1) is None
    assert moments.take(("alice", "a"), 1) and not moments.take(("alice", "a"), 1)
    for name in "abc":
        moments.note(name, 0)
    assert [moments.since(name, 1) for name in "abc"] == [None, 1, 1]
    assert not moments.take("b", 10.1)


# -- hostile answers ----------------------------------------------------------------------------------


class Asked:
    """One challenge for an enrolled passkey."""

    def __init__(self, **device: Any) -> None:
        self.challenge = secrets.token_bytes(32)
        self.device = Authenticator(HERE.origin, HERE.rp_id, user_handle=HANDLE, **device)
        self.passkey = passkey(id=self.device.id, public_key=self.device.public_key)
        self.options = {
            "challenge": bytes_to_base64url(self.challenge),
            "user": {"id": bytes_to_base64url(HANDLE)},
        }
        self.expected = Expected(self.challenge, HERE, HANDLE)

    def reason(self, answer: str | None = None) -> str:
        said = self.device.get(self.options) if answer is None else answer
        return judge_assertion(said, self.expected, {self.passkey.id: self.passkey}).reason

    def reason_of_new(self, answer: str | None = None) -> str:
        said = self.device.create(self.options) if answer is None else answer
        return judge_registration(said, self.expected).reason


def changed(answer: str, change: Callable[[dict[str, Any]], object]) -> str:
    value = json.loads(answer)
    change(value)
    return json.dumps(value)


def test_an_honest_answer_is_accepted_with_its_counter() -> None:
    asked = Asked(sign_count=6)
    used = judge_assertion(asked.device.get(asked.options), asked.expected, {asked.passkey.id: asked.passkey})
    assert (used.reason, used.id, used.sign_count) == ("ok", asked.device.id, 7)
    assert Asked(step=0).reason() == "ok", "one that does not count"
    assert Asked(flags=PRESENT | VERIFIED | 0x18).reason() == "ok", "one that is synced between devices"
    made = judge_registration(asked.device.create(asked.options), asked.expected)
    assert (made.reason, made.id, made.public_key) == ("ok", asked.device.id, asked.device.public_key)


@pytest.mark.parametrize(
    ("lie", "reason"),
    [
        ({"origin": "https://evil.example"}, "origin"),
        ({"origin": "https://hub.example.org.evil.example"}, "origin"),
        ({"origin": "http://hub.example.org"}, "origin"),
        ({"origin": ["https://hub.example.org"]}, "origin"),
        ({"crossOrigin": True}, "origin"),
        ({"challenge": bytes_to_base64url(secrets.token_bytes(32))}, "challenge"),
        ({"challenge": ""}, "challenge"),
        ({"challenge": None}, "challenge"),
        ({"type": "webauthn.something"}, "kind"),
    ],
)
def test_what_the_browser_says_about_the_page(lie: dict[str, Any], reason: str) -> None:
    assert Asked(client=lie).reason() == reason
    assert Asked(client=lie).reason_of_new() == reason


@pytest.mark.parametrize(
    ("device", "reason"),
    [
        ({"flags": PRESENT}, "user_verification"),
        ({"flags": VERIFIED}, "presence"),
        ({"flags": 0}, "presence"),
    ],
)
def test_who_was_at_the_device(device: dict[str, int], reason: str) -> None:
    assert Asked(**device).reason() == reason
    assert Asked(**device).reason_of_new() == reason


def test_other_sites_keys_people_and_old_answers() -> None:
    asked = Asked()
    elsewhere = replace(asked.device, rp_id="evil.example")
    assert asked.reason(elsewhere.get(asked.options)) == "rp_id"
    assert asked.reason_of_new(elsewhere.create(asked.options)) == "rp_id"
    stranger = Authenticator(HERE.origin, HERE.rp_id)
    assert asked.reason(stranger.get(asked.options)) == "unknown"
    # The right id, but another key.
    assert asked.reason(replace(stranger, id=asked.device.id).get(asked.options)) == "signature"
    assert asked.reason(replace(asked.device, user_handle=b"bob").get(asked.options)) == "account"
    # A new passkey is no proof with an old one, nor the other way round.
    assert asked.reason(asked.device.create(asked.options)) == "garbage"
    assert asked.reason_of_new(asked.device.get(asked.options)) == "garbage"
    # Yesterday's answer to today's question.
    old = asked.device.get(asked.options)
    asked.expected = replace(asked.expected, challenge=secrets.token_bytes(32))
    assert asked.reason(old) == "challenge"


def test_changes_on_the_way_break_the_signature() -> None:
    asked = Asked()
    answer = asked.device.get(asked.options)
    later = asked.device.get(asked.options)
    taken = json.loads(later)["response"]["authenticatorData"]
    forged = changed(answer, lambda value: value["response"].update(authenticatorData=taken))
    assert asked.reason(forged) == "signature"
    renamed = changed(answer, lambda value: value.update(id=bytes_to_base64url(b"other")))
    assert asked.reason(renamed) == "signature"
    assert asked.reason(changed(answer, lambda value: value["response"].update(signature=""))) == "signature"


@pytest.mark.parametrize(
    "answer",
    ["", "{}", "[]", "null", "1", '"x"', "{" * 20_000, "x" * 40_000, '{"id": 1}', "\x00", '{"a": ' * 5_000],
)
def test_garbage(answer: str) -> None:
    assert Asked().reason(answer) == "garbage"
    assert Asked().reason_of_new(answer) == "garbage"


@settings(deadline=None)
@given(st.data())
def test_no_answer_raises_and_none_but_the_whole_one_passes(data: st.DataObject) -> None:
    asked = ASKED
    field = data.draw(
        st.sampled_from(["clientDataJSON", "authenticatorData", "signature", "attestationObject"])
    )
    value = data.draw(st.one_of(st.none(), st.integers(), st.text(), st.binary().map(bytes_to_base64url)))
    get, create = asked.device.get(asked.options), asked.device.create(asked.options)
    if field in json.loads(get)["response"]:
        assert asked.reason(changed(get, lambda v: v["response"].update({field: value}))) != "ok"
    if field in json.loads(create)["response"]:
        assert asked.reason_of_new(changed(create, lambda v: v["response"].update({field: value}))) != "ok"


ASKED = Asked()


def test_each_refusal_is_a_sentence_that_says_what_was_kept() -> None:
    reasons = [
        "unknown",
        "user_verification",
        "sign_count",
        "origin",
        "rp_id",
        "challenge",
        "garbage",
        "kind",
    ]
    for reason in reasons:
        assert failures.LOCKED in failures.not_used(reason) and "{" not in failures.not_used(reason)
        assert "None was added" in failures.not_made(reason)


# -- the command line ---------------------------------------------------------------------------------


def test_an_administrator_lists_and_resets(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(json.dumps({"dataDir": str(tmp_path)}))

    def run(*words: str) -> tuple[int, str]:
        done = CliRunner().invoke(main, ["passkeys", *words, "--config", str(config)])
        assert done.exception is None or isinstance(done.exception, SystemExit)
        return done.exit_code, done.output

    assert run("list") == (0, "Nobody has a passkey.\n")
    code, said = run("reset", "alice")
    assert code == 1 and "nothing was changed" in said
    store = PasskeyStore(tmp_path / "passkeys.sqlite")
    for name in ("Laptop", "Key\x1b[2J"):
        store.add(passkey(name=name))
    store.add(passkey("bob"))
    code, said = run("list", "alice")
    assert code == 0 and "Laptop" in said and "bob" not in said and "\x1b" not in said
    assert "hub.example.org" in said and "1970-01-01" in said and "never" in said
    assert run("reset", "alice")[0] == 0
    assert [item.user for item in store.everybody()] == ["bob"]
    event = json.loads((tmp_path / "audit" / "current.jsonl").read_text())
    assert (event["what"], event["on"], event["count"], event["result"]) == (
        "passkey.reset",
        "alice",
        2,
        "ok",
    )
    store.path.write_bytes(b"x" * 5000)
    code, said = run("list")
    assert code == 1 and said.startswith("error: The passkeys in")
