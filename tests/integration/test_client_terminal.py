"""`attach`, driven by a person at a real terminal emulator (tmux), and in pipes; real keeper and server."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
from pathlib import Path

import pytest

from persistent_terminal_hub.client.api import Workspace
from tests.integration.client_fixtures import ATTACH, Person, Stack, person, stack
from tests.integration.keeper_fixtures import create

__all__ = ["person", "stack"]

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(not shutil.which("tmux"), reason="no tmux (Debian: tmux)"),
]


def prompt(screen: str) -> bool:
    """The inner shell waits; tmux leaves out blanks at the end of a line."""
    return "$" in screen.splitlines()


async def piped(
    stack: Stack, arguments: str, text: bytes = b"", seconds: float = 20
) -> tuple[int, bytes, str]:
    """`attach` in a pipe: exit status, output, what it said."""
    process = await asyncio.create_subprocess_shell(
        f"exec {ATTACH} {arguments}", env=stack.attach_env, stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, said = await asyncio.wait_for(process.communicate(text), seconds)
    return process.returncode or 0, out, said.decode()


async def test_a_shell_its_exit_status_and_the_terminal_afterwards(person: Person) -> None:
    await person.type("stty -g > before; echo above", "Enter")
    await person.type(
        f'{ATTACH} --create shell; echo "status=$?"; stty -g | cmp - before && echo tty=same', "Enter"
    )
    await person.sees(prompt, 15)
    await person.type("echo got-$((40+2)); stty size", "Enter")
    screen = await person.sees("got-42")
    assert "24 80" in await person.sees("24 80"), screen
    await person.tmux("resize-window", "-x", "90", "-y", "30")
    await person.type("stty size", "Enter")
    await person.sees("30 90")
    await person.type("exit 7", "Enter")
    await person.sees("The session shell has ended (exit status 7)")
    await person.sees("status=7")
    await person.sees("tty=same")
    assert "above" in await person.history()


async def test_detach_and_come_back(person: Person) -> None:
    attach = f'{ATTACH} --create stays; echo "status=$?"'
    await person.type(attach, "Enter")
    await person.sees(prompt, 15)
    await person.type("x=kept", "Enter")
    await person.type("", "C-]")
    await person.sees("Detached; the session stays goes on.")
    await person.sees("status=0")
    await person.type("clear; " + attach, "Enter")
    await person.sees("x=kept")
    await person.type("echo $x-again", "Enter")
    await person.sees("kept-again")


async def test_an_outage_is_shown_and_taken_back(stack: Stack, person: Person) -> None:
    await person.type(f"{ATTACH} --create outage", "Enter")
    await person.sees(prompt, 15)
    await person.type("seq 1001 1100", "Enter")
    await person.sees("1100")
    stack.relay.down()
    await person.sees("No connection")
    assert "1100" in await person.screen()
    await person.type("echo typed-$((20+2)) while away", "Enter")
    stack.relay.up()
    screen = await person.sees("typed-22 while away")
    assert "No connection" not in screen
    lines = (await person.history()).splitlines()
    assert [line for line in lines if line.isdigit() and 1001 <= int(line) <= 1100] == [
        str(number) for number in range(1001, 1101)
    ]
    title = await person.tmux("display-message", "-p", "#{pane_title}")
    assert "No connection" not in title


async def test_vim_inside_through_an_outage(stack: Stack, person: Person, tmp_path: Path) -> None:
    file = tmp_path / "poem.txt"
    await person.type(f"{ATTACH} --create vim -- vim -u NONE -N -n {file}", "Enter")
    await person.sees("~\n~", 15)
    await person.type("ione line")
    stack.relay.down()
    await person.sees("No connection")
    await person.type("; typed while away")
    stack.relay.up()
    screen = await person.sees("one line; typed while away")
    await person.sees(lambda screen: "No connection" not in screen)
    assert screen.count("one line") == 1
    await person.type("", "Escape")
    await person.type(":wq", "Enter")
    await person.sees("has ended (exit status 0)")
    assert file.read_text() == "one line; typed while away\n"


async def test_tmux_inside(person: Person, tmp_path: Path) -> None:
    await person.type(
        f"{ATTACH} --create mux -- tmux -L {tmp_path.name} -f /dev/null new bash --norc", "Enter"
    )
    await person.sees("[0]", 15)  # its status line
    await person.type("echo inner-$((40+2))", "Enter")
    await person.sees("inner-42")
    await person.type("", "C-]")
    await person.sees("Detached")
    assert "[0] 0:bash" not in await person.screen()
    await person.type(f"clear; {ATTACH} mux", "Enter")
    screen = await person.sees("inner-42", 15)
    assert "0;276;0c" not in screen  # no answer to an old question was typed
    await person.type("tmux kill-server", "Enter")
    await person.sees("has ended")


@pytest.mark.parametrize(("name", "status"), [("TERM", 143), ("HUP", 129), ("INT", 130)])
async def test_a_signal_leaves_the_terminal_as_it_was(person: Person, name: str, status: int) -> None:
    await person.type("stty -g > before", "Enter")
    await person.type(
        f'{ATTACH} --create s{name}; echo "status=$?"; stty -g | cmp - before && echo same', "Enter"
    )
    await person.sees(prompt, 15)
    await person.type("echo in-$((1+1))", "Enter")
    await person.sees("in-2")
    pane = (await person.tmux("display-message", "-p", "#{pane_pid}")).strip()
    killer = await asyncio.create_subprocess_exec("pkill", f"-{name}", "-P", pane)
    await killer.wait()
    await person.sees(f"status={status}")
    await person.sees("same")


async def test_in_a_pipe(stack: Stack) -> None:
    status, out, said = await piped(stack, "--create pipe", b"echo piped-$((40+2))\nexit 5\n")
    assert status == 5, said
    assert b"piped-42\r\n" in out
    assert b"No connection" not in out
    status, out, said = await piped(stack, "--create quick --eof detach", b"echo $((1+1)) > eof.txt\n")
    assert (status, said) == (0, "[Detached; the session quick goes on.]\n")
    for _ in range(50):
        if (stack.folder / "eof.txt").exists():
            break
        await asyncio.sleep(0.1)
    assert (stack.folder / "eof.txt").read_text() == "2\n"
    status, out, said = await piped(stack, "--list")
    assert b"quick" in out.splitlines()[-1] or b"quick" in out


async def test_a_pipe_fetches_what_a_lagging_client_skipped(stack: Stack) -> None:
    """52 MB, read late by somebody who types meanwhile: the stream jumps, the pipe has every byte."""
    lines = b"".join(b"%09d the quick brown fox jumps over the lazy dog\n" % n for n in range(950_000))
    (stack.folder / "large").write_bytes(lines)
    jumps_before = stack.metric("pth_cursor_jumps_total")
    keeper = stack.keeper.connect()
    script = "stty -echo; echo ready; read go; cat large; echo; read more"
    create(keeper, "/bin/sh", "-c", script, name="large", cwd=str(stack.folder), capacity=64 * 1024 * 1024)
    env = {**stack.attach_env, "PTH_SERVER_URL": stack.direct_url}
    process = await asyncio.create_subprocess_shell(
        f"exec {ATTACH} large", env=env, stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, limit=64 * 1024,
    )  # fmt: skip
    assert process.stdin and process.stdout and process.stderr
    async with asyncio.timeout(60):
        assert await process.stdout.readuntil(b"ready\r\n") == b"ready\r\n"
        process.stdin.write(b"go\n")
        head = await process.stdout.readexactly(100_000)
        await asyncio.sleep(1)  # the journal runs ahead
        process.stdin.write(b"more\n")  # from now on the client counts as one that waits for an echo
        await asyncio.sleep(0.5)
        rest, said = await asyncio.gather(process.stdout.read(), process.stderr.read())
        assert await process.wait() == 0
    assert said == b""
    want = lines.replace(b"\n", b"\r\n") + b"\r\n"
    assert len(head) + len(rest) == len(want) > 50_000_000
    assert head + rest == want
    assert stack.metric("pth_cursor_jumps_total") > jumps_before  # else this test shows nothing


async def test_a_pipe_gets_every_byte_once_through_cuts(stack: Stack) -> None:
    loop = "for i in $(seq 400); do echo line $i; sleep 0.005; done"
    task = asyncio.create_task(piped(stack, f"--create lines -q -- sh -c '{loop}'"))
    before = stack.relay.connections
    for _ in range(10):
        await asyncio.sleep(0.4)
        stack.relay.cut()
    status, out, said = await task
    assert (status, said) == (0, "")
    assert out == b"".join(b"line %d\r\n" % number for number in range(1, 401))
    assert stack.relay.connections > before + 3


async def test_errors_are_sentences(stack: Stack) -> None:
    status, out, said = await piped(stack, "nobody")
    assert (status, out) == (255, b"")
    assert said.startswith("error: There is no session 'nobody'.")
    assert said.endswith("--create makes one.\n")
    status, _, said = await piped(stack, "--server http://127.0.0.1:1/ x")
    assert (status, said[:40]) == (255, "error: http://127.0.0.1:1/ does not answ")
    status, _, said = await piped(stack, "--detach-key F12 x")
    assert "is no key to detach with" in said


async def test_a_large_file_as_input(stack: Stack, tmp_path: Path) -> None:
    """More than the client keeps ahead, from a regular file, which cannot be polled."""
    file = tmp_path / "input"
    file.write_bytes(bytes(range(256)) * 8000)
    want = hashlib.sha1(file.read_bytes(), usedforsecurity=False).hexdigest()
    script = "stty raw -echo; echo ready; head -c 2048000 | sha1sum"
    async with Workspace(stack.url, stack.token) as workspace:
        await workspace.create("large", argv=["sh", "-c", script])
        async with await workspace.attach("large", mode="watch") as session:
            await session.wait_for("ready", 10)
    made = await asyncio.create_subprocess_shell(
        f"{ATTACH} -q large < {file} | cat", env=stack.attach_env,
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, _ = await asyncio.wait_for(made.communicate(), 20)
    assert want in out.decode()
