"""What the workspace asks the hub before it renews an attach token, and for how long it may go without."""

from __future__ import annotations

import asyncio
import stat
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from persistent_terminal_hub.protocol.codes import Code
from persistent_terminal_hub.server import attach_renewal, attach_tokens
from persistent_terminal_hub.server.attach_renewal import Renewal
from persistent_terminal_hub.server.attach_tokens import MAX_GRANTS, AttachTokens, Person, Refused, load_key


class Hub:
    """Says what it is told to say."""

    def __init__(self) -> None:
        self.answer: bool | None = True
        self.there = True
        self.asked: list[tuple[str, str]] = []

    async def ask_again(self, token: str, session_id: str) -> bool | None:
        self.asked.append((token, session_id))
        return self.answer

    async def answers(self) -> bool:
        return self.there

    def get_token(self, handler: Any) -> str | None:
        return str(handler.token)

    def get_session_id(self, handler: Any) -> str:
        return "s"


def tokens(hub: Any, folder: Path | None = None, **options: Any) -> AttachTokens:
    return AttachTokens(folder, "ann/", hub, **({"grace": 100.0} | options))


def request(token: str) -> Any:
    return SimpleNamespace(token=token)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Monotonic and wall."""
    now = [1000.0, 1_800_000_000.0]
    fake = SimpleNamespace(monotonic=lambda: now[0], time=lambda: now[1])
    monkeypatch.setattr(attach_tokens, "time", fake)
    monkeypatch.setattr(attach_renewal, "time", fake)
    return now


async def test_one_question_serves_all_connections_of_the_same_credentials(clock: list[float]) -> None:
    hub = Hub()
    made = tokens(hub)
    ann, again, other = (made.person(request(token), "ann") for token in ("a", "a", "b"))
    assert ann.grant == again.grant != other.grant and ann.grant != "a"
    assert [await made.ask(person) for person in (ann, again, ann)] == ["yes"] * 3
    assert hub.asked == [("a", "s")]
    clock[0] += 60
    hub.answer = False
    assert await made.ask(again) == "no" and await made.ask(ann) == "no" and len(hub.asked) == 3
    hub.answer = None
    assert await made.ask(ann) == "away"
    assert await tokens(hub).ask(ann) == "unknown", "another process does not know the credentials"
    hub.there = False
    assert await tokens(hub).ask(ann) == "away"
    assert await tokens(None).ask(ann) == "yes"
    assert await tokens(SimpleNamespace(get_token=hub.get_token)).ask(ann) == "away"


async def test_credentials_are_few(clock: list[float]) -> None:
    made = tokens(Hub())
    first = made.person(request("first"), "ann")
    for number in range(MAX_GRANTS):
        made.person(request(str(number)), "ann")
    assert await made.ask(first) == "unknown" and len(made._grants) == MAX_GRANTS


async def test_the_hubs_word_is_bounded_through_all_renewals(clock: list[float]) -> None:
    made = tokens(Hub())
    person = made.person(request("a"), "ann")
    confirmed = person.confirmed
    for _ in range(3):  # renewed from token to token, with the hub away
        clock[1] += 33
        text = attach_tokens.issue(
            made._key, attach_tokens.Purpose.ATTACH, issuer=made.name, audience=made.name, subject="ann",
            lifetime=900, claims={"session": "x", "grant": person.grant, "confirmed": person.confirmed},
        )  # fmt: skip
        person = made.verify(text, "x")
        assert person.confirmed == confirmed and made.within_grace(person)
    clock[1] += 2
    assert not made.within_grace(person)
    clock[1] -= 300
    assert not made.within_grace(person), "a clock that was put back does not make it longer"


def test_the_key(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    key = load_key(tmp_path)
    assert load_key(tmp_path).kid == key.kid
    assert stat.S_IMODE((tmp_path / "attach-key.pem").stat().st_mode) == 0o600
    (tmp_path / "attach-key.pem").write_bytes(b"\xff")
    other = load_key(tmp_path)
    assert other.kid != key.kid == key.kid and load_key(tmp_path).kid == other.kid
    assert load_key(None).kid != load_key(None).kid
    assert load_key(tmp_path / "missing").kid != other.kid and "cannot be kept" in caplog.text


def test_it_is_for_one_session_of_one_workspace() -> None:
    mine, yours = tokens(None), AttachTokens(None, "bob/", None)
    text = mine.issue(mine.person(request(""), "ann"), "x")
    assert mine.verify(text).session == "x" == mine.verify(text, "x").session
    for verifier, session, code in ((mine, "y", Code.FORBIDDEN), (mine, "", Code.FORBIDDEN), (
        yours, "x", Code.SIGN_IN,  # another key
    )):  # fmt: skip
        with pytest.raises(Refused) as caught:
            verifier.verify(text, session)
        assert caught.value.code == code and text not in str(caught.value)


@pytest.mark.parametrize(
    ("answer", "until", "grace", "told", "closed"),
    [
        (True, None, 100.0, True, None),
        (True, 60.0, 0.0, True, None),
        (False, None, 100.0, True, Code.SIGN_IN),  # the first token came by the handshake's answer
        (False, 60.0, 100.0, False, Code.SIGN_IN),
        (None, 60.0, 100.0, True, None),
        (None, 60.0, 0.0, False, None),
        (None, -1.0, 0.0, False, Code.SIGN_IN),
        (None, -1.0, 100.0, True, None),
    ],
)
async def test_a_connections_renewal(
    monkeypatch: pytest.MonkeyPatch, answer: bool | None, until: float | None, grace: float, told: bool,
    closed: Code | None,
) -> None:  # fmt: skip
    monkeypatch.setattr(attach_renewal, "FIRST", 0.0)
    hub = Hub()
    hub.answer = answer
    made = tokens(hub, grace=grace, lifetime=0.3)
    came = made.person(request("a"), "ann")
    if until is not None:
        came = Person("ann", came.grant, came.confirmed - 1, came.confirmed + until, "x")
    messages: list[Any] = []
    codes: list[Code] = []
    renewal = Renewal(made, "x", came, messages.append, lambda code, _: codes.append(code))
    await asyncio.sleep(0.18)
    renewal.stop()
    assert bool(messages) is told and codes == ([] if closed is None else [closed])
    if messages:
        assert messages[0].expires_in == 0.3 and made.verify(messages[0].token, "x").user == "ann"
