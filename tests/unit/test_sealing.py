"""Envelopes and their keys."""

from __future__ import annotations

import base64
import json
import multiprocessing
import os
import re
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persistent_terminal_hub.sealing import (
    MAX_PLAIN,
    Sealer,
    SealingError,
    Tampered,
    UnknownKey,
    decode_key,
    encode_key,
)
from persistent_terminal_hub.sealing_keys import EnvironmentKeys, FileKeys

ONE, TWO = bytes(range(32)), bytes(range(32, 64))
KEYS = EnvironmentKeys(f"two:{encode_key(TWO)}, one:{base64.b64encode(ONE).decode()}")
SEALER = Sealer(KEYS)
names = st.text(max_size=20)


@given(st.binary(max_size=2000), names, names)
def test_what_was_sealed_opens(plain: bytes, owner: str, purpose: str) -> None:
    envelope = SEALER.seal(plain, owner=owner, purpose=purpose)
    assert SEALER.open(envelope, owner=owner, purpose=purpose) == plain
    assert re.fullmatch(r"pth1\.two\.[\w-]{16}\.[\w-]+", envelope)
    assert len(plain) < 4 or plain.hex() not in envelope


@given(names, names, names, names)
def test_only_for_its_owner_and_purpose(owner: str, purpose: str, owner2: str, purpose2: str) -> None:
    envelope = SEALER.seal(b"x", owner=owner, purpose=purpose)
    if (owner, purpose) != (owner2, purpose2):
        with pytest.raises(Tampered):
            SEALER.open(envelope, owner=owner2, purpose=purpose2)


def test_border_between_owner_and_purpose_counts() -> None:
    envelope = SEALER.seal(b"x", owner="ab", purpose="c")
    with pytest.raises(Tampered):
        SEALER.open(envelope, owner="a", purpose="bc")


def test_every_changed_character_is_seen() -> None:
    envelope = SEALER.seal(b"correct horse", owner="alice", purpose="secret:X")
    for place in range(len(envelope)):
        for other in "A_.":
            changed = envelope[:place] + other + envelope[place + 1 :]
            if changed != envelope:
                with pytest.raises((Tampered, UnknownKey)):
                    SEALER.open(changed, owner="alice", purpose="secret:X")


@given(st.text(max_size=200))
def test_garbage_is_refused_with_our_error(text: str) -> None:
    with pytest.raises(SealingError):
        SEALER.open(text, owner="a", purpose="b")


@given(st.text(alphabet="pth1.two_-Aa9=\x00é", max_size=80))
def test_near_garbage_is_refused_with_our_error(text: str) -> None:
    with pytest.raises(SealingError):
        SEALER.open("pth1.two." + text, owner="a", purpose="b")


def test_errors_quote_nothing() -> None:
    envelope = SEALER.seal(b"hunter2", owner="a", purpose="b")
    with pytest.raises(Tampered) as caught:
        SEALER.open(envelope, owner="a", purpose="c")
    assert "hunter2" not in str(caught.value) and envelope not in str(caught.value)
    assert caught.value.__cause__ is None


def test_too_large() -> None:
    with pytest.raises(SealingError, match="at most"):
        SEALER.seal(bytes(MAX_PLAIN + 1), owner="a", purpose="b")


def test_same_secret_twice_differs() -> None:
    assert len({SEALER.seal(b"x", owner="a", purpose="b") for _ in range(100)}) == 100


def test_rotation_in_the_environment() -> None:
    old = Sealer(EnvironmentKeys(f"one:{encode_key(ONE)}")).seal(b"x", owner="a", purpose="b")
    assert not SEALER.is_current(old)
    new = SEALER.reseal(old, owner="a", purpose="b")
    assert SEALER.is_current(new) and SEALER.reseal(new, owner="a", purpose="b") == new
    assert SEALER.open(new, owner="a", purpose="b") == b"x"
    with pytest.raises(UnknownKey, match="two"):
        Sealer(EnvironmentKeys(f"one:{encode_key(ONE)}")).open(new, owner="a", purpose="b")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "holds no key"),
        (" , ", "holds no key"),
        ("one", "ID:BASE64"),
        ("one:AAAA", "32 bytes"),
        ("one:!!!", "no base64"),
        ("o ne:" + encode_key(ONE), "letters"),
        (f"one:{encode_key(ONE)},one:{encode_key(TWO)}", "repeats"),
    ],
)
def test_bad_environment(text: str, says: str) -> None:
    with pytest.raises(SealingError, match=says) as caught:
        EnvironmentKeys(text)
    assert encode_key(ONE) not in str(caught.value)


@given(st.binary(min_size=32, max_size=32))
def test_keys_as_text(key: bytes) -> None:
    assert decode_key(encode_key(key)) == decode_key(base64.b64encode(key).decode()) == key


def test_file_is_made_private_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "sealing.json"
    first = Sealer(FileKeys(path))
    envelope = first.seal(b"x", owner="a", purpose="b")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert Sealer(FileKeys(path)).open(envelope, owner="a", purpose="b") == b"x"
    assert list(path.parent.glob(".sealing.json.[0-9]*")) == []


def test_rotation_in_the_file_is_seen_by_others(tmp_path: Path) -> None:
    path = tmp_path / "sealing.json"
    here, there = FileKeys(path), FileKeys(path)
    old = Sealer(here).seal(b"x", owner="a", purpose="b")
    there.rotate()
    assert not Sealer(here).is_current(old)
    new = Sealer(here).reseal(old, owner="a", purpose="b")
    assert Sealer(there).is_current(new)
    assert Sealer(there).open(old, owner="a", purpose="b") == b"x"
    first, second = here.ids()
    there.forget(first)
    with pytest.raises(UnknownKey):
        Sealer(FileKeys(path)).open(old, owner="a", purpose="b")
    with pytest.raises(SealingError, match="rotate first"):
        here.forget(second)
    with pytest.raises(UnknownKey):
        here.forget("nobody")


def _make(path: Path, results: multiprocessing.Queue[str]) -> None:
    results.put(FileKeys(path).current()[0])


def test_first_run_of_several_processes_makes_one_key(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    results: multiprocessing.Queue[str] = context.Queue()
    makers = [context.Process(target=_make, args=(tmp_path / "k.json", results)) for _ in range(4)]
    for maker in makers:
        maker.start()
    assert len({results.get(timeout=60) for _ in makers}) == 1
    for maker in makers:
        maker.join()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b'{"current": "a", "keys": {}}',
        b'{"current": "a", "keys": {"a": 1}}',
        b"\xff",
        b"[" * 9999,
    ],
)
def test_unusable_file_is_not_replaced(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "sealing.json"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(SealingError, match="backup"):
        FileKeys(path)
    assert path.read_bytes() == content


def test_open_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "sealing.json"
    FileKeys(path)
    path.chmod(0o644)
    with pytest.raises(SealingError, match="chmod 600"):
        FileKeys(path)


def test_link_is_refused(tmp_path: Path) -> None:
    FileKeys(tmp_path / "real.json")
    os.symlink(tmp_path / "real.json", tmp_path / "link.json")
    with pytest.raises(SealingError):
        FileKeys(tmp_path / "link.json")


def test_wrapped_keys_do_not_stand_in_the_file(tmp_path: Path) -> None:
    class Mirror:
        """A wrapper as simple as can be; the real one is Vault's."""

        def wrap(self, key: bytes) -> str:
            return "mirror:" + encode_key(key)[::-1]

        def unwrap(self, wrapped: str) -> bytes:
            return decode_key(wrapped.removeprefix("mirror:")[::-1])

    path = tmp_path / "sealing.json"
    keys = FileKeys(path, Mirror())
    _, key = keys.current()
    assert encode_key(key) not in path.read_text()
    assert all(text.startswith("mirror:") for text in json.loads(path.read_text())["keys"].values())
    assert FileKeys(path, Mirror()).current()[1] == key
