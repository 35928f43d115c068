"""The store of the hub's signing keys: rotation, two processes, damage; and what publishes them."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from tornado.httpclient import AsyncHTTPClient
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port
from tornado.web import Application

from persistent_terminal_hub import signing_keys
from persistent_terminal_hub.cli import main
from persistent_terminal_hub.hub.jwks import JwksHandler
from persistent_terminal_hub.signing_keys import (
    DAY,
    MAX_KEYS,
    MAX_TOKEN_LIFE,
    PUBLISH_AHEAD,
    KeyStore,
    KeyStoreError,
)
from persistent_terminal_hub.tokens import Purpose, issue, keys_of, verify

ROOT = Path(__file__).parents[2]
NOW = 1_800_000_000.0


def kids(store: KeyStore, now: float) -> list[str]:
    return list(store.public(now))


def test_the_first_key(tmp_path: Path) -> None:
    store = KeyStore(tmp_path / "keys")
    key = store.signing(NOW)
    assert store.signing(NOW + 1).kid == key.kid == KeyStore(tmp_path / "keys").signing(NOW).kid
    assert kids(store, NOW) == [key.kid]
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "keys").iterdir()} == {0o600}


def test_two_keys_are_valid_at_once(tmp_path: Path) -> None:
    store, culler = KeyStore(tmp_path), KeyStore(tmp_path)
    old = store.signing(NOW).kid
    rotated = store.rotate(NOW)
    new = rotated.key.kid
    assert rotated.signs_from == NOW + PUBLISH_AHEAD
    assert store.rotate(NOW + 1).key.kid == new, "one that waits is kept"
    # Published before it signs; both processes agree.
    for each in (store, culler):
        assert set(kids(each, NOW)) == {old, new}
        assert each.signing(NOW + PUBLISH_AHEAD - 1).kid == old
        assert each.signing(NOW + PUBLISH_AHEAD).kid == new
    # The old one verifies until the last token that it may have signed is over.
    last = NOW + PUBLISH_AHEAD + MAX_TOKEN_LIFE
    assert set(kids(store, last - 1)) == {old, new} and kids(store, last) == [new]


def test_it_rotates_by_itself(tmp_path: Path) -> None:
    store = KeyStore(tmp_path, max_age=30 * DAY)
    first = store.signing(NOW).kid
    assert store.signing(NOW + 30 * DAY - 1).kid == first and len(kids(store, NOW + 30 * DAY - 1)) == 1
    assert store.signing(NOW + 30 * DAY).kid == first, "the new one is published first"
    assert len(kids(store, NOW + 30 * DAY)) == 2
    assert store.signing(NOW + 30 * DAY + PUBLISH_AHEAD).kid != first
    never = KeyStore(tmp_path / "never", max_age=0)
    assert never.signing(NOW).kid == never.signing(NOW + 10_000 * DAY).kid


def test_a_first_key_that_another_process_makes_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = KeyStore(tmp_path)
    exclusive, made = hub._exclusive, []

    @contextlib.contextmanager
    def late() -> Iterator[None]:
        made.append(KeyStore(tmp_path).signing(NOW).kid)  # the culler, while the hub waits for the lock
        with exclusive():
            yield

    monkeypatch.setattr(hub, "_exclusive", late)
    assert [hub.signing(NOW).kid] == made == list(KeyStore(tmp_path).public(NOW))


def test_stolen_keys_are_thrown_away(tmp_path: Path) -> None:
    store = KeyStore(tmp_path)
    old = store.signing(NOW).kid
    store.rotate(NOW)
    new = store.rotate(NOW + 1, at_once=True)
    assert kids(store, NOW + 1) == [new.key.kid] == [store.signing(NOW + 1).kid] and new.key.kid != old


@given(st.lists(st.tuples(st.floats(0, 3 * DAY), st.booleans()), max_size=12))
@settings(max_examples=40, deadline=None)
def test_whatever_is_signed_verifies_for_its_whole_life(steps: list[tuple[float, bool]]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        store, now = KeyStore(Path(folder), max_age=DAY), NOW
        signed: list[tuple[float, str]] = []
        for wait, rotate in steps:
            now += wait
            if rotate:
                store.rotate(now)
            signed.append((now, store.signing(now).kid))
            public = store.public(now)
            assert len(public) <= MAX_KEYS
            if len(public) < MAX_KEYS:
                assert all(kid in public for at, kid in signed if now - at < DAY)


@given(st.lists(st.floats(-400 * DAY, 400 * DAY), max_size=8))
@settings(max_examples=40, deadline=None)
def test_a_clock_that_jumps_leaves_a_key(jumps: list[float]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        store = KeyStore(Path(folder))
        for jump in jumps:
            now = NOW + jump
            key = store.signing(now)
            assert key.kid in KeyStore(Path(folder)).public(now) or len(store.public(now)) > 0
            assert key.kid in store.public(now)


RACER = """
import sys
from pathlib import Path
from persistent_terminal_hub.signing_keys import KeyStore
store = KeyStore(Path(sys.argv[1]), max_age=30 * 86400)
for step in range(20):
    now = 1_800_000_000.0 + step * 31 * 86400
    store.signing(now)
    print(store.signing(now + 301).kid, store.rotate(now + 302).key.kid, sorted(store.public(now + 303)))
"""


def test_two_processes_that_rotate_at_the_same_time(tmp_path: Path) -> None:
    """The hub and the culler agree on every key, and nobody's is lost."""
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, str(tmp_path)],
            stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)}, text=True,
        )
        for _ in range(3)
    ]  # fmt: skip
    said = [racer.communicate(timeout=60)[0].splitlines() for racer in racers]
    assert all(racer.returncode == 0 for racer in racers)
    assert [len(lines) for lines in said] == [20, 20, 20]
    stored = json.loads((tmp_path / "keys.json").read_text())["keys"]
    assert 0 < len(stored) <= MAX_KEYS
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"[]", b"{}", b'{"keys": []}', b'{"keys": [{}]}', b'{"keys": 1}', b"\xff",
        b'{"keys": [{"pem": "x", "published": 1, "signsFrom": 1, "verifiesUntil": null}]}',
    ],
)  # fmt: skip
def test_damage_is_said_and_nothing_is_overwritten(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "keys.json").write_bytes(content)
    store = KeyStore(tmp_path)
    for call in (store.signing, store.public, store.rotate):
        with pytest.raises(KeyStoreError, match="damaged"):
            call(NOW)
    assert (tmp_path / "keys.json").read_bytes() == content


def test_a_key_in_hand_works_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(signing_keys, "PATIENCE", 0.05)
    store = KeyStore(tmp_path, max_age=DAY)
    key = store.signing(NOW)
    lock = os.open(tmp_path / "lock", os.O_RDWR)
    fcntl.flock(lock, fcntl.LOCK_EX)  # a frozen process
    assert store.signing(NOW + 2 * DAY).kid == key.kid
    assert "was not replaced" in caplog.text
    with pytest.raises(KeyStoreError, match="frozen"):
        store.rotate(NOW)
    os.close(lock)
    assert store.signing(NOW + 2 * DAY).kid == key.kid and len(store.public(NOW + 2 * DAY)) == 2
    (tmp_path / "file").write_text("")
    with pytest.raises(KeyStoreError, match="cannot be read"):
        KeyStore(tmp_path / "file" / "keys").signing(NOW)


def test_others_may_not_read_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    KeyStore(tmp_path).signing(NOW)
    (tmp_path / "keys.json").chmod(0o644)
    KeyStore(tmp_path).signing(NOW)
    assert stat.S_IMODE((tmp_path / "keys.json").stat().st_mode) == 0o600
    assert "--compromised" in caplog.text


async def test_the_document_of_the_hub(tmp_path: Path) -> None:
    store = KeyStore(tmp_path / "keys")
    server = HTTPServer(Application([(r"/jwks\.json", JwksHandler, {"keys": store})]))
    listener, port = bind_unused_port()
    server.add_sockets([listener])
    url = f"http://127.0.0.1:{port}/jwks.json"
    answer = await AsyncHTTPClient().fetch(url)
    assert answer.headers["Cache-Control"] == "public, max-age=60"
    assert answer.headers["Content-Type"].startswith("application/json")
    text = answer.body.decode()
    assert "PRIVATE" not in text and '"d"' not in text
    token = issue(store.signing(), Purpose.UNLOCK, issuer="a", audience="b", subject="c", lifetime=60)
    keys = keys_of(json.loads(text))
    assert verify(token, keys, Purpose.UNLOCK, issuer="a", audience="b", max_lifetime=60).subject == "c"
    (tmp_path / "keys" / "keys.json").write_text("broken")
    broken = await AsyncHTTPClient().fetch(url, raise_error=False)
    assert broken.code == 503 and str(tmp_path) not in broken.body.decode()
    assert json.loads(broken.body)["hint"] and broken.headers["Cache-Control"] == "no-store"
    server.stop()


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PTH_CONFIG", raising=False)

    def run(*arguments: str) -> Any:
        return CliRunner().invoke(main, ["rotate-keys", *arguments])

    monkeypatch.setenv("PTH_DATA_DIR", str(tmp_path / "nowhere"))
    missing = run()
    assert missing.exit_code == 1 and "no data directory" in missing.output
    assert not (tmp_path / "nowhere").exists()
    monkeypatch.setenv("PTH_DATA_DIR", str(tmp_path))
    store = KeyStore(tmp_path / "keys")
    old = store.signing().kid
    done = run()
    assert done.exit_code == 0 and "is published" in done.output and len(store.public()) == 2
    assert store.signing().kid == old
    stolen = run("--compromised")
    assert stolen.exit_code == 0 and store.signing().kid in stolen.output and len(store.public()) == 1
    if os.geteuid() == 0:
        os.chown(tmp_path, 12345, 12345)
        assert "12345" in run().output and run().exit_code == 1
