"""The owner's other workspaces: what is taken from the hub's answer, and what is said when there is none."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persistent_terminal_hub.server.elsewhere import Elsewhere, others_in
from persistent_terminal_hub.server.errors import SessionError

SESSION = {"id": "a", "name": "train", "state": "busy", "text": "busy with python for 3 minutes"}
GPU = {
    "name": "gpu", "title": "GPU", "url": "/user/ann/gpu/", "state": "running", "badge": "Running",
    "summary": "1 session: 1 busy.", "sessions": [SESSION],
}  # fmt: skip
OWN = GPU | {"name": "", "title": "Default workspace"}
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.sampled_from(["name", "sessions", "url", "id"]), inner)
    ),
)


def answer(*workspaces: Any) -> bytes:
    return json.dumps({"workspaces": workspaces}).encode()


def test_the_others_and_nothing_more() -> None:
    assert others_in(answer(OWN, GPU | {"secret": 1}), "") == [GPU]
    assert others_in(answer(OWN, GPU), "gpu") == [OWN]
    assert others_in(answer(), "") == []


@given(JSON)
def test_nonsense_is_an_error_or_left_out(value: Any) -> None:
    try:
        found = others_in(json.dumps({"workspaces": value}).encode(), "own")
    except ValueError:
        return
    for each in found:
        assert all(isinstance(text, str) for name, text in each.items() if name != "sessions")
        assert all(set(session) == set(SESSION) for session in each["sessions"])


async def test_the_hub_is_asked_once_for_all() -> None:
    asked = 0

    async def ask() -> tuple[int, bytes]:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0)
        return 200, answer(OWN, GPU)

    elsewhere = Elsewhere(ask, "")
    assert await asyncio.gather(elsewhere.workspaces(), elsewhere.workspaces()) == [[GPU], [GPU]]
    assert await elsewhere.workspaces() == [GPU] and asked == 1


@pytest.mark.parametrize(
    ("status", "body", "sentence"),
    [
        (404, b"", "does not tell"),
        (403, b"", "does not tell"),
        (500, b"", "does not answer"),
        (200, b"<html>", "does not answer"),
        (OSError(), b"", "does not answer"),
        (TimeoutError(), b"", "does not answer"),
    ],
)
async def test_a_hub_that_cannot_tell(status: int | Exception, body: bytes, sentence: str) -> None:
    async def ask() -> tuple[int, bytes]:
        if isinstance(status, Exception):
            raise status
        return status, body

    with pytest.raises(SessionError, match=sentence) as caught:
        await Elsewhere(ask, "").workspaces()
    assert caught.value.status_code == 503 and caught.value.hint


def test_a_server_without_a_hub_has_none() -> None:
    assert Elsewhere.from_environment({}) is None
