"""The client's parts without input or output: keys, questions, the status line, places, what was received."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from persistent_terminal_hub.client.errors import ClientError, NotConfigured
from persistent_terminal_hub.client.keys import DetachKey, Item, Keys
from persistent_terminal_hub.client.place import clean_url, find_place, parse_target
from persistent_terminal_hub.client.queries import MAX_QUESTION, Queries
from persistent_terminal_hub.client.received import Received, plain
from persistent_terminal_hub.client.status import StatusLine
from persistent_terminal_hub.client.terminal import FAILED, exit_status
from persistent_terminal_hub.protocol.messages import Exit

QUESTIONS = [
    b"\x1b[c", b"\x1b[>c", b"\x1b[=0c", b"\x1b[6n", b"\x1b[?6n", b"\x1b[5n", b"\x1bZ", b"\x1b[?1$p",
    b"\x1b]10;?\x07", b"\x1b]11;?\x1b\\", b"\x1b]4;1;?\x07", b"\x1b]52;c;?\x07", b"\x1bP$qm\x1b\\",
    b"\x1bP+q544e\x1b\\", b"\x1b[>q", b"\x1b[>0q", b"\x1b[?u", b"\x1b[18t", b"\x1b[?4m", b"\x05",
    b"\x1b_Gi=1,a=q;AAAA\x1b\\",
]  # fmt: skip
SHOWN = [
    "plain text, ü and 漢字 🙂\r\n".encode(), b"\x1b[31mred\x1b[0m", b"\x1b[2J\x1b[H",
    b"\x1b]0;title\x07", b"\x1b[22;0t",
    b"\x1b]8;;http://x/?a\x1b\\link\x1b]8;;\x1b\\", b"\x1b[1;5r", b"\x1b[?1049h", b"\x1b(B", b"\x1b[>4;2m",
    b"\x1b[2 q",
    b"\x1b]11;rgb:00/00/00\x07", b"\x1b[>1u", b"\x1b[<u", b"\x1bPq#0;2;0;0;0#0~~@@vv\x1b\\", b"\x1b[3;4H",
    b"\x1b[0;1;31m", b"\x1b[4t", b"\x1b[8;24;80t",
]  # fmt: skip


@pytest.mark.parametrize("seed", range(40))
def test_questions_are_found_whatever_the_cuts(seed: int) -> None:
    choose = random.Random(seed)
    pieces = [(choose.random() < 0.4, choose.choice(QUESTIONS), choose.choice(SHOWN)) for _ in range(30)]
    stream = b"".join(question if asks else text for asks, question, text in pieces)
    wanted = b"".join(b"" if asks else text for asks, _, text in pieces)
    hidden, shown, plain_ = Queries(), Queries(), Queries()
    out, all_, found = b"", b"", []
    at = 0
    while at < len(stream):
        size = choose.choice([1, 2, 3, 7, 50])
        part = stream[at : at + size]
        out += hidden.filter(part, False)
        all_ += shown.filter(part, True)
        found += plain_.feed(part)
        at += size
    assert out + hidden.flush() == wanted
    assert all_ + shown.flush() == stream
    assert found == [question for asks, question, _ in pieces if asks]


def test_nothing_is_held_for_ever() -> None:
    queries = Queries()
    long = b"\x1bPq" + b"~" * (2 * MAX_QUESTION)
    out = queries.filter(long[:100], False) + queries.filter(long[100:], False)
    assert out == long
    assert queries.inside
    assert queries.filter(b"~~\x1b\\text", False) == b"~~\x1b\\text"
    assert not queries.inside


def test_what_the_screen_is_like_is_noticed() -> None:
    queries = Queries()
    queries.filter(b"\x1b[?1049h\x1b[2;5r\x1b]2;my title\x07", True)
    assert (queries.alternate, queries.region, queries.title) == (True, True, b"my title")
    queries.filter(b"\x1b[?1049l\x1b[r", True)
    assert (queries.alternate, queries.region) == (False, False)


def keys(*parts: bytes, expecting: bool = False, key: str = "ctrl-]") -> list[tuple[str, bytes]]:
    sorter = Keys(DetachKey.parse(key))
    items: list[Item] = []
    for part in parts:
        items += sorter.feed(part, expecting=expecting)
    return [(item.kind, item.data) for item in items + sorter.flush()]


@pytest.mark.parametrize(
    "pressed", [b"\x1d", b"\x1b[93;5u", b"\x1b[93;69u", b"\x1b[93;5:1u", b"\x1b[27;5;93~"]
)
def test_the_detach_key_in_every_keyboard_mode(pressed: bytes) -> None:
    assert keys(b"ab" + pressed + b"rm -rf\n") == [("keys", b"ab"), ("detach", pressed)]


def test_what_does_not_detach() -> None:
    for data in (b"\x1b[93;5:3u", b"\x1b[94;5u", b"]", b"\x1b[200~a\x1db\x1b[201~"):
        assert b"".join(data for kind, data in keys(data) if kind == "keys") == data
    assert keys(b"\x1b[200~a\x1d", b"b\x1b[20", b"1~", b"\x1d")[-1] == ("detach", b"\x1d")
    assert keys(b"a\x1d", key="none") == [("keys", b"a\x1d")]
    assert keys(b"a\x01", key="^a") == [("keys", b"a"), ("detach", b"\x01")]
    with pytest.raises(NotConfigured, match="is no key"):
        DetachKey.parse("F12")


def test_answers_are_told_from_keys() -> None:
    answer = b"\x1b[?62;22c"
    assert keys(b"x" + answer + b"y") == [("keys", b"x"), ("answer", answer), ("keys", b"y")]
    assert keys(b"\x1b]11;rgb:0/0/0\x1b\\") == [("answer", b"\x1b]11;rgb:0/0/0\x1b\\")]
    # A position looks like Shift-F3.
    assert keys(b"\x1b[1;2R") == [("keys", b"\x1b[1;2R")]
    assert keys(b"\x1b[1;2R", expecting=True) == [("position", b"\x1b[1;2R")]
    assert keys(b"\x1b[12;", b"3R", expecting=True) == [("position", b"\x1b[12;3R")]
    # An escape key is not held when nothing is expected, and comes in the end when it is.
    assert Keys(None).feed(b"\x1b", expecting=False) == [Item("keys", b"\x1b")]
    assert keys(b"\x1b", expecting=True) == [("keys", b"\x1b")]


def test_the_status_line_takes_itself_back() -> None:
    line = StatusLine()
    assert line.draw("away", 24, 80, cursor_row=None, over=False) == b""
    assert line.erase() == (b"", False)
    assert b"\n" not in line.draw("away", 24, 80, cursor_row=3, over=False)
    assert line.erase()[1] is False
    assert b"\n" in line.draw("away", 24, 80, cursor_row=24, over=False)
    out, redraw = line.erase()
    assert out.endswith(b"\x1bM\x1b8")
    assert not redraw
    line.draw("away", 24, 80, cursor_row=None, over=True)
    assert line.erase()[1] is True
    assert b"x" * 19 + b"\x1b8" in line.draw("x" * 99, 24, 20, cursor_row=1, over=False)


@pytest.mark.parametrize(
    ("text", "target"),
    [("s", (None, "", "s")), ("lab:s", (None, "lab", "s")), ("ann/lab:s", ("ann", "lab", "s")),
     ("ann/:s", ("ann", "", "s")), ("a:b/lab:s", ("a:b", "lab", "s"))],
)  # fmt: skip
def test_targets(text: str, target: tuple[str | None, str, str]) -> None:
    assert parse_target(text) == target


def test_addresses_carry_no_secrets() -> None:
    assert clean_url("https://hub.example/prefix") == "https://hub.example/prefix/"
    for bad in ("hub.example", "ftp://x/", "https://u:p@x/", "https://x/?token=secret", ""):
        with pytest.raises(NotConfigured) as error:
            clean_url(bad)
        assert "secret" not in str(error.value)


def test_where_the_token_comes_from(tmp_path: Path) -> None:
    env = {"HOME": str(tmp_path), "PTH_HUB_URL": "https://hub/hub/home"}
    with pytest.raises(NotConfigured, match="There is no token"):
        find_place(environ=env)
    file = tmp_path / ".config/persistent-terminal-hub/token"
    file.parent.mkdir(parents=True)
    file.write_text("from-file\n")
    file.chmod(0o644)
    with pytest.raises(NotConfigured, match=r"nobody else can read.*chmod 600"):
        find_place(environ=env)
    file.chmod(0o600)
    place = find_place(environ=env)
    assert (place.url, place.token, place.is_hub) == ("https://hub/", "from-file", True)
    assert "from-file" not in repr(place)
    assert find_place(environ={**env, "PTH_TOKEN": "other"}).token == "other"
    assert find_place(hub="http://127.0.0.1:8000", environ=env).exposed is False
    assert find_place(hub="http://intranet:8000", environ=env).exposed is True
    with pytest.raises(NotConfigured, match="not both"):
        find_place(hub="https://a", server="https://b", environ=env)


def test_inside_a_workspace() -> None:
    env = {
        "JUPYTERHUB_SERVICE_URL": "http://0.0.0.0:8888/user/ann/lab/",
        "JUPYTERHUB_SERVICE_PREFIX": "/user/ann/lab/",
        "PTH_TOKEN": "t", "HOME": "/nowhere",
    }  # fmt: skip
    assert find_place(environ=env).url == "http://127.0.0.1:8888/user/ann/lab/"
    with pytest.raises(NotConfigured, match="Where is the hub"):
        find_place(environ={"PTH_TOKEN": "t"})


def test_received_keeps_the_newest() -> None:
    received = Received(10)
    for at in range(0, 100, 5):
        received.append(at, b"%05d" % at)
    assert received.stop == 100
    assert 10 <= received.stop - received.start <= 20
    chunk = received.since(0)
    assert (chunk.lost, chunk.stop) == (received.start, 100)
    assert received.since(97).data == b"095"
    found = received.find(re.compile(rb"00095"), 0)
    assert found is not None
    assert found[:2] == (95, 100)
    received.append(200, b"x")
    assert (received.start, received.since(100).lost) == (200, 100)


def test_plain_text() -> None:
    assert plain(b"\x1b]0;t\x07\x1b[1;31mred\x1b[m\r\n\x1b(Bok\x08") == "red\nok"


def test_exit_status() -> None:
    assert [exit_status(how) for how in (Exit(code=3), Exit(signal=9), Exit(reason="ttl"), None)] == [
        3, 137, FAILED, FAILED,
    ]  # fmt: skip


def test_errors_say_what_to_do() -> None:
    error = ClientError("It did not work.", "Try again.")
    assert str(error) == "It did not work. Try again."
