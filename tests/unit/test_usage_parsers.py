"""What the kernel's files say of use."""

from __future__ import annotations

import os
import secrets
import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persistent_terminal_hub.server import usage
from persistent_terminal_hub.server.disk_quota import DiskQuota, size, step_of
from persistent_terminal_hub.server.errors import SessionError
from persistent_terminal_hub.server.usage import Process, Used
from persistent_terminal_hub.server.usage_sampler import Sampler

STAT = "4242 (a (b) c) S 7 11 12 34816 5 4194304 90 0 0 0 13 5 2 1 20 0 1 0 987654 8192 300 184467"


@pytest.mark.parametrize(
    ("text", "value"),
    [("0", 0), ("17\n", 17), ("max", None), ("-1", None), ("1.5", None), ("", None), (None, None),
     ("²", None), ("9223372036854771712", None), ("1" * 30, None)],
)  # fmt: skip
def test_numbers(text: str | None, value: int | None) -> None:
    assert usage.number(text) == value


def test_groups_of_both_versions() -> None:
    assert usage.cpu_seconds("usage_usec 2500000\nuser_usec 1\n", None) == 2.5
    assert usage.cpu_seconds(None, "3000000000\n") == 3.0
    assert usage.cpu_seconds(None, None) is None
    assert usage.working_set("1000", "anon 5\ninactive_file 300\n") == 700
    assert usage.working_set("1000", "inactive_file 1\ntotal_inactive_file 400\n") == 600
    assert usage.working_set("10", "inactive_file 300\n") == 0
    assert usage.working_set("10", None) == 10


def test_a_process() -> None:
    assert usage.process(STAT, "50 30 10 1 0 2 0") == Process(4242, 7, 12, 21, 987654, 20)
    assert usage.process(STAT) == Process(4242, 7, 12, 21, 987654, 0)
    assert usage.process("1 (x) S 1") is None


def test_the_network_without_loopback() -> None:
    text = (
        "Inter-|   Receive |\n face |bytes\n    lo: 900 1 0 0 0 0 0 0 900 1 0 0 0 0 0 0\n"
        "  eth0:100 1 0 0 0 0 0 0 20 1 0 0 0 0 0 0\neth1: 5 1 0 0 0 0 0 0 6 1 0 0 0 0 0 0\n"
    )
    assert usage.network(text) == (105, 26)
    assert usage.network("") is None


def of(pid: int, parent: int, leader: int = 0, ticks: int = 1, pages: int = 1) -> Process:
    return Process(pid, parent, leader or pid, ticks, 5, pages)


def test_trees() -> None:
    processes = [
        of(1, 0), of(10, 1, ticks=2), of(11, 10, 10), of(12, 11, 10), of(20, 1), of(21, 1, 20),
        of(30, 1), of(31, 30, 30), of(40, 1, 99),
    ]  # fmt: skip
    found = usage.trees(processes, {10: "a", 20: "b"}, {30: "a"})
    # b has 21, whose parent ended; a has the daemon 30, and 31 below it.
    assert found == {"a": Used(6, 5), "b": Used(2, 2)}
    assert usage.trees([], {5: "gone"}, {}) == {"gone": Used(0, 0)}


@given(st.lists(st.builds(of, *[st.integers(0, 8)] * 3, st.integers(0, 100)), max_size=12))
def test_every_process_counts_once_whatever_the_tree(processes: list[Process]) -> None:
    one_each = list({each.pid: each for each in processes}.values())
    found = usage.trees(one_each, {1: "a", 2: "b"}, {3: "a"})
    assert sum(used.cpu_ticks for used in found.values()) <= sum(each.cpu_ticks for each in one_each)
    whole = usage.trees(one_each, {each.pid: "all" for each in one_each if each.pid}, {})
    counted = sum(each.cpu_ticks for each in one_each if each.pid)
    assert whole.get("all", Used(0, 0)).cpu_ticks >= counted


@given(st.text(max_size=200), st.text(max_size=60))
def test_nonsense_raises_nothing(text: str, other: str) -> None:
    usage.process(text, other)
    usage.process(f"1 ({other}) {text}", text)
    usage.network(text)
    usage.cpu_seconds(text, other)
    usage.working_set(text, other)
    assert usage.du_bytes(text) is None or text[0].isdigit()


def test_this_machine_for_real(tmp_path: Path) -> None:
    """A session that burns CPU, with a child and a daemon that left it."""
    mark = secrets.token_hex(8)
    burn = "import time; end=time.process_time()+0.4\nwhile time.process_time()<end: pass\ntime.sleep(60)"
    script = f'python3 -c "{burn}" & PTH_X=1 setsid python3 -c "{burn}" & sleep 60'
    shell = subprocess.Popen(
        ["bash", "-c", script], start_new_session=True, env={**os.environ, "PTH_SESSION_ID": mark}
    )
    (tmp_path / "file").write_bytes(b"x" * 100_000)
    sampler = Sampler(tmp_path, os.getpid(), own_group=False)
    try:
        deadline = time.monotonic() + 30
        while True:
            found = sampler.read({shell.pid: mark})
            if found["sessions"][0]["cpuSeconds"] >= 0.75 or time.monotonic() > deadline:
                break
            time.sleep(0.2)
        assert found["sessions"][0]["cpuSeconds"] >= 0.75
        assert found["sessions"][0]["memoryBytes"] > 1_000_000
        assert found["cpuSeconds"] >= found["sessions"][0]["cpuSeconds"]
        assert found["receivedBytes"] is None and found["life"] > 0
    finally:
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if f"PTH_SESSION_ID={mark}\0".encode() in (process / "environ").read_bytes():
                    os.kill(int(process.name), 9)
            except OSError:
                continue
        shell.wait()
    # What ended does not make the counter less.
    after = sampler.read({shell.pid: mark})
    assert after["cpuSeconds"] >= found["cpuSeconds"]
    assert after["life"] == found["life"]


async def test_the_files_are_summed_up_and_the_quota_holds(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 200_000)
    sampler = Sampler(tmp_path, os.getpid(), own_group=False)
    quota = DiskQuota(sampler, "150000")
    said: list[str] = []
    quota.tell = lambda session, notice: said.append(notice.message)
    await quota.check()  # nothing is known yet
    await quota.look()
    assert sampler.disk.complete and (sampler.disk.bytes or 0) >= 200_000
    assert len(said) == 1 and "refused" in said[0]
    with pytest.raises(SessionError, match="quota"):
        await quota.check()
    (tmp_path / "file").unlink()
    await quota.check()  # looks again at once
    await quota.look()
    assert len(said) == 1
    assert DiskQuota(sampler, "").limit == DiskQuota(sampler, "²").limit == 0


@pytest.mark.parametrize(
    ("used", "limit", "step"),
    [
        (None, 10, "fine"),
        (5, 0, "fine"),
        (8, 10, "fine"),
        (9, 10, "warn"),
        (10, 10, "warn"),
        (11, 10, "over"),
    ],
)
def test_quota_table(used: int | None, limit: int, step: str) -> None:
    assert step_of(used, limit) == step


def test_sizes() -> None:
    assert [size(n) for n in (0, 1000, 1536, 20 << 30, 1 << 50)] == [
        "0 B", "1000 B", "1.5 KiB", "20 GiB", "1048576 GiB",
    ]  # fmt: skip
