"""Sessions in a real keeper: whole output, fairness, names, sizes, ends, bounds, the asyncio client."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from persistent_terminal_hub.keeper.blocking_client import BlockingClient
from persistent_terminal_hub.keeper.channel import KeeperError, KeeperGone
from persistent_terminal_hub.keeper.client import Client
from tests.integration.keeper_fixtures import KeeperProcess, Screen, Typist, create, keeper, until

__all__ = ["keeper"]

RAW = "stty raw -echo; printf READY; "


def test_output_is_whole_to_the_last_byte_also_when_nobody_listens(keeper: KeeperProcess) -> None:
    client = keeper.connect()
    client.call("watch")
    session = create(client, "sh", "-c", "stty -opost; seq 1 60000; printf end; exit 7")
    event = client.wait_event("exited", session)
    expected = "".join(f"{n}\n" for n in range(1, 60001)).encode() + b"end"
    assert event["exit"]["code"] == 7 and event["exit"]["reason"] == "exited"
    assert event["end"] == len(expected)
    assert Screen(client, session).all() == expected


def test_a_background_program_on_the_terminal_does_not_hold_up_the_end(keeper: KeeperProcess) -> None:
    client = keeper.connect()
    client.call("watch")
    began = time.monotonic()
    session = create(client, "sh", "-c", '(trap "" HUP; sleep 5; echo late) & echo done')
    assert client.wait_event("exited", session)["exit"]["code"] == 0
    assert time.monotonic() - began < 3
    assert Screen(client, session).all() == b"done\r\n"


def test_a_program_that_closes_its_terminal_for_a_while(keeper: KeeperProcess) -> None:
    client = keeper.connect()
    client.call("watch")
    script = "exec <&- >&- 2>&-; sleep 0.3; exec >/dev/tty; echo back"
    session = create(client, "sh", "-c", script)
    client.wait_event("exited", session)
    assert Screen(client, session).all() == b"back\r\n"


def test_a_flood_delays_nobody(keeper: KeeperProcess) -> None:
    client = keeper.connect()
    flood = create(client, "yes")
    session = create(client, "sh", "-c", RAW + "exec cat")
    screen, typist = Screen(client, session), Typist(client, session)
    screen.until(b"READY")
    times = []
    for number in range(30):
        began = time.monotonic()
        typist.type(b"%02d." % number)
        screen.until(b"%02d." % number)
        times.append(time.monotonic() - began)
    assert sorted(times)[15] < 0.05, times
    until(lambda: client.call("get", session=flood).header["session"]["end"] > 10_000_000)
    assert client.call("get", session=flood).header["session"]["memory"] <= (8 << 20) + 65536


def test_size_foreground_names_and_events(keeper: KeeperProcess) -> None:
    client, watcher = keeper.connect(), keeper.connect()
    watcher.call("watch")
    session = create(client, "bash", "--norc", name="my-run.1", cols=100, rows=30, env={"PS1": "$ "})
    screen, typist = Screen(client, session), Typist(client, session)
    screen.until(b"$ ")
    assert not client.call("get", session="my-run.1").header["session"]["busy"]
    assert client.call("attach", session=session, client="typist").header["cols"] == 100
    typist.type(b"stty size; sleep 0.4\n")
    screen.until(b"30 100")
    until(lambda: client.call("get", session=session).header["session"]["foreground_name"] == "sleep")
    assert client.call("get", session=session).header["session"]["busy"]
    offset = client.call("resize", session=session, cols=120, rows=40).header["offset"]
    assert screen.subscription.reader.resizes()[-1] == (offset, 120, 40)
    typist.type(b"stty size\n")
    screen.until(b"40 120")
    client.call("rename", session=session, name="other")
    for name, code in (
        ("other", "exists"),
        ("a b", "invalid_name"),
        ("", "invalid_name"),
        (7, "invalid_name"),
    ):
        with pytest.raises(KeeperError) as caught:
            client.call("create", name=name)
        assert caught.value.code in (code, "invalid")
    typist.type(b"exit 3\n")
    kinds = [watcher.wait_event(kind, session)["event"] for kind in ("attachment", "resized", "exited")]
    assert kinds == ["attachment", "resized", "exited"]
    # Its name is free, and leads to the one that runs.
    another = create(client, "sleep", "100", name="other")
    assert client.call("get", session="other").header["session"]["id"] == another
    client.call("remove", session=session)
    assert [s["id"] for s in client.call("list").header["sessions"]] == [another]
    with pytest.raises(KeeperError, match="no such session"):
        client.call("get", session=session)


def test_the_environment_of_a_shell(tmp_path: Path) -> None:
    process = KeeperProcess(tmp_path)
    process.start(env={"JUPYTERHUB_API_TOKEN": "hunter2", "KEPT": "yes"})
    client = process.connect()
    session = create(client, "env", env={"MINE": "ü"}, cwd="/tmp")
    output = Screen(client, session).all().decode()
    assert "hunter2" not in output
    assert "KEPT=yes" in output and "MINE=ü" in output and f"PTH_SESSION_ID={session}" in output
    for argv, cwd, word in (
        (["/no/such"], "/", "'/no/such' cannot be started"),
        (["sh"], "/no", "directory '/no'"),
    ):
        with pytest.raises(KeeperError, match=word):
            client.call("create", argv=argv, cwd=cwd)
    process.stop()


def test_ending_goes_from_asking_to_killing(keeper: KeeperProcess) -> None:
    client = keeper.connect()
    client.call("watch")
    deaf = 'trap "" HUP TERM; (while :; do sleep 0.1; done) & echo $!; while :; do sleep 0.1; done'
    session = create(client, "sh", "-c", deaf)
    child = int(Screen(client, session).until(b"\n"))
    began = time.monotonic()
    client.call("end", session=session, grace=0.6, reason="ttl")
    event = client.wait_event("exited", session)
    assert event["exit"]["signal"] == signal.SIGKILL and event["exit"]["reason"] == "ttl"
    assert 0.5 < time.monotonic() - began < 3
    until(lambda: not Path(f"/proc/{child}").exists())
    polite = create(client, "sh", "-c", "kill -STOP $$; echo never")  # stopped: needs CONT to hear HUP
    client.call("end", session=polite, grace=5)
    assert client.wait_event("exited", polite)["exit"]["signal"] == signal.SIGHUP


def test_sigterm_hangs_up_everything_and_leaves_nothing(keeper: KeeperProcess) -> None:
    client = keeper.connect()
    mark = keeper.runtime / "hung-up"
    session = create(
        client, "bash", "-c", f'trap "echo hup >{mark}; exit" HUP; echo up; while :; do sleep 0.05; done'
    )
    Screen(client, session).until(b"up")
    deaf = create(client, "sh", "-c", 'trap "" HUP TERM; echo up; while :; do sleep 0.1; done')
    Screen(client, deaf).until(b"up")
    pids = [info["pid"] for info in client.call("list").header["sessions"]]
    began = time.monotonic()
    assert keeper.popen is not None
    keeper.popen.terminate()
    assert keeper.popen.wait(10) == 0
    assert 0.9 < time.monotonic() - began < 3.5
    assert mark.read_text() == "hup\n"
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
    assert not keeper.socket.exists()


def test_input_that_nobody_reads_is_refused_and_then_delivered_once(
    keeper: KeeperProcess, tmp_path: Path
) -> None:
    client = keeper.connect()
    client.call("watch")
    record, go = tmp_path / "record", tmp_path / "go"
    script = f"{RAW}while [ ! -e {go} ]; do sleep 0.05; done; exec cat >{record}"
    session = create(client, "sh", "-c", script)
    Screen(client, session).until(b"READY")
    pieces = [bytes([65 + n]) * 30_000 for n in range(20)]
    accepted = 0
    with pytest.raises(KeeperError) as caught:
        for piece in pieces:
            ack = client.call("input", piece, session=session, client="c", seq=accepted + 1).header["ack"]
            accepted += 1
            assert ack == accepted
    assert caught.value.code == "full" and caught.value.header["ack"] == accepted < 20
    with pytest.raises(KeeperError) as caught:
        client.call("input", b"ahead", session=session, client="c", seq=accepted + 2)
    assert caught.value.code == "gap"
    go.touch()
    client.wait_event("input_ready", session)
    while accepted < 20:
        try:
            client.call("input", pieces[accepted], session=session, client="c", seq=accepted + 1)
            client.call("input", b"twice", session=session, client="c", seq=accepted + 1)
            accepted += 1
        except KeeperError as error:
            assert error.code == "full"
            client.wait_event("input_ready", session)
    until(lambda: record.stat().st_size >= 600_000)
    assert record.read_bytes() == b"".join(pieces)


def _until_end_is(client: BlockingClient, session: str, end: int) -> None:
    until(lambda: client.call("get", session=session).header["session"]["end"] == end)


def test_two_subscriptions_of_one_connection_are_both_woken(keeper: KeeperProcess) -> None:
    client = keeper.connect()
    session = create(client, "sh", "-c", RAW + "exec cat")
    screens = [Screen(client, session), Screen(client, session)]
    typist = Typist(client, session)
    for screen in screens:
        screen.until(b"READY")
    for number in range(20):
        typist.type(b"%d," % number)
        for screen in screens:
            screen.until(b"%d," % number)
    with pytest.raises(KeeperError) as caught:
        for _ in range(100):
            client.subscribe(session)
    assert caught.value.code == "limit"
    client.call("unsubscribe", session=session)


def test_the_list_comes_in_pages(keeper: KeeperProcess) -> None:
    client = keeper.connect()
    made = [create(client, "sleep", "100") for _ in range(60)]
    page = client.call("list").header
    assert len(page["sessions"]) < 60
    rest = client.call("list", after=page["next"]).header
    assert [info["id"] for info in page["sessions"] + rest["sessions"]] == made
    assert rest["next"] is None


def test_the_bound_on_all_journals_takes_from_the_longest_dormant(keeper: KeeperProcess) -> None:
    client = keeper.connect()
    client.call("configure", journals_bound=3 << 20)
    script = "stty -opost; head -c 1000000 /dev/zero | tr '\\0' x; exec sleep 100"
    sessions: list[str] = []
    for _ in range(5):
        session = create(client, "sh", "-c", script)
        _until_end_is(client, session, 1_000_000)
        client.call("attach", session=session, client="c")
        if len(sessions) != 1:  # the second one stays attached
            client.call("detach", session=session, client="c")
        sessions.append(session)
    kept = [info["end"] - info["start"] for info in client.call("list").header["sessions"]]
    stats = client.call("stats").header
    assert stats["journals_memory"] <= 3 << 20
    assert kept[0] < 100_000, "the longest dormant gave first"
    assert kept[1] == kept[4] == 1_000_000, "attached, and newest"
    assert Screen(client, sessions[0]).subscription.reader.read(0).lost == 1_000_000 - kept[0]


async def test_the_asyncio_client(keeper: KeeperProcess) -> None:
    client = await Client.connect(keeper.socket)
    events: list[str] = []
    await client.watch(lambda event: events.append(event["event"]))
    session = (await client.create(argv=["sh", "-c", RAW + "exec cat"]))["id"]
    woken = asyncio.Event()
    subscription = await client.subscribe(session, woken.set)
    got = b""

    async def read_until(what: bytes) -> None:
        nonlocal got
        async with asyncio.timeout(10):
            while what not in got:
                await woken.wait()
                woken.clear()
                got += subscription.reader.read(len(got)).data

    await read_until(b"READY")
    answers = [client.input(session, "c", n, b"%d," % n) for n in range(1, 51)]
    assert (await answers[-1]).header["ack"] == 50
    await read_until(b",50,")
    assert got == b"READY" + b"".join(b"%d," % n for n in range(1, 51))
    assert [s["id"] for s in await client.list()] == [session] and (await client.get(session))[
        "bytes_in"
    ] == 141
    lost = asyncio.Event()
    client.on_close = lost.set
    assert keeper.popen is not None
    waiting = client.send("get", session=session)
    keeper.popen.kill()
    async with asyncio.timeout(5):
        await lost.wait()
    with contextlib.suppress(KeeperGone):
        await waiting
    with pytest.raises(KeeperGone):
        await client.get(session)
    assert events[0] == "created"
    subscription.close()


async def test_input_under_a_short_name(keeper: KeeperProcess) -> None:
    client = await Client.connect(keeper.socket)
    other = await Client.connect(keeper.socket)
    acks: list[tuple[int, int]] = []
    refusals: list[KeeperError] = []
    heard = asyncio.Event()

    def acked(line: int, seq: int) -> None:
        acks.append((line, seq))
        heard.set()

    def refused(error: KeeperError) -> None:
        refusals.append(error)
        heard.set()

    async def until_heard(check: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not check():
                await heard.wait()
                heard.clear()

    client.on_ack, client.on_refused = acked, refused
    other.on_refused = refused
    session = (await client.create(argv=["sh", "-c", RAW + "exec cat"]))["id"]
    subscription = await client.subscribe(session, heard.set)
    await until_heard(lambda: subscription.reader.head == len("READY"))
    line = (await client.call("attach", session=session, client="c")).header["line"]
    assert (await client.call("attach", session=session, client="c")).header["line"] == line
    for number in (1, 2, 2, 3):  # what is repeated is acknowledged, not written
        client.type(line, number, b"%d" % number)
    assert not client.input(session, "c", 4, b"4").done()  # both ways in one order
    client.type(line, 5, b"5" * 300)
    await until_heard(lambda: acks[-1:] == [(line, 5)])
    await until_heard(lambda: subscription.reader.head >= 9 + 300)
    assert subscription.reader.read(5).data == b"1234" + b"5" * 300 and len(acks) < 5
    # An answer to something later comes behind the acknowledgement, however late that would be.
    client.type(line, 6, b"6")
    await client.call("get", session=session)
    assert acks[-1] == (line, 6)

    client.type(line, 9, b"x")
    client.type(line, 0, b"x")
    client.type(line, 7, b"x" * 300_000)
    other.type(line, 7, b"x")  # a name is good on its own connection only
    await until_heard(lambda: len(refusals) == 4)
    assert sorted(error.code for error in refusals) == ["gap", "invalid", "not_found", "too_large"]
    assert {error.header["ack"] for error in refusals} == {0, 6}
    refusals.clear()
    await client.call("detach", session=session, client="c")
    client.type(line, 7, b"x")
    again = (await client.call("attach", session=session, client="c")).header
    assert again["line"] != line and again["ack"] == 6 and refusals[0].code == "not_found"
    events: list[str] = []
    await client.watch(lambda event: (events.append(event["event"]), heard.set())[0])
    await client.call("end", session=session)
    await until_heard(lambda: "exited" in events)
    client.type(again["line"], 7, b"x")
    await until_heard(lambda: len(refusals) == 2)
    assert refusals[1].code == "ended"
    subscription.close()
    client.close()
    other.close()
