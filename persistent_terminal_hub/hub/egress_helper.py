"""The root helper: takes the hub's word on which workspace may reach what, and puts it into the kernel.

It is small on purpose. A message names subnets of the configured range and one of three policies, nothing
else; what the policies mean comes from the settings, which the administrator wrote. It answers the hub's
user (and root) only. When it dies the rules stay; it looks every few seconds whether they still stand,
because a Docker daemon or a firewall that is restarted may sweep them away.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import struct
from collections.abc import Callable
from dataclasses import replace
from ipaddress import AddressValueError, IPv4Address
from pathlib import Path

from persistent_terminal_hub.hub import netfilter
from persistent_terminal_hub.hub.bandwidth import Shaper
from persistent_terminal_hub.hub.data_dir import write_private
from persistent_terminal_hub.hub.egress import (
    EgressError,
    Ground,
    Workspace,
    by_chain,
    hooked,
    in_place,
    parse_state,
    removal_text,
    restore_text,
    rules,
)
from persistent_terminal_hub.hub.egress_link import MOST_BYTES, socket_path
from persistent_terminal_hub.hub.netfilter import ToolError

log = logging.getLogger("persistent_terminal_hub.egress")

CHECK_SECONDS = 5.0
MESSAGE_SECONDS = 10.0
#: Somebody else may change the table between looking and writing.
TRIES = 3
RESOLVER_FILES = (Path("/etc/resolv.conf"), Path("/run/systemd/resolve/resolv.conf"))


def resolvers_of(text: str) -> list[IPv4Address]:
    """The IPv4 name servers of a resolv.conf, those on loopback left out: Docker asks them itself (pure)."""
    found = []
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 2 and words[0] == "nameserver":
            with contextlib.suppress(AddressValueError):
                address = IPv4Address(words[1])
                if not address.is_loopback and not address.is_unspecified:
                    found.append(address)
    return found


def machine_resolvers() -> tuple[IPv4Address, ...]:
    """The name servers that this machine asks, which containers ask too."""
    found: list[IPv4Address] = []
    for path in RESOLVER_FILES:
        with contextlib.suppress(OSError, UnicodeDecodeError):
            found += resolvers_of(path.read_text())
    return tuple(dict.fromkeys(found))


class Helper:
    """One hub's filter."""

    def __init__(
        self,
        ground: Ground,
        *,
        interval: float = CHECK_SECONDS,
        resolvers: Callable[[], tuple[IPv4Address, ...]] | None = None,
        path: Path | None = None,
    ) -> None:
        self.path = path or socket_path(ground.hub_id)
        self._ground = ground
        self._interval = interval
        self._resolvers = resolvers
        self._workspaces: tuple[Workspace, ...] = ()
        self._accepted: tuple[Ground, tuple[Workspace, ...], dict[str, list[str]]] | None = None
        self._shaper = Shaper(ground.pool)
        self._busy = asyncio.Lock()
        self._problem = ""

    # -- rules ---------------------------------------------------------------------------------------
    async def apply(self, workspaces: tuple[Workspace, ...]) -> dict[str, object]:
        """Make this the state. Raises ToolError, and then the earlier state goes on."""
        async with self._busy:
            await self._ensure(workspaces)
            self._workspaces = workspaces
            self._remember()
            limits = await self._shaper.apply(workspaces)
        return {"ok": True, "enforced": len(workspaces), **({"bandwidth": limits} if limits else {})}

    async def _ensure(self, workspaces: tuple[Workspace, ...]) -> bool:
        """Put the rules in if they are not there; whether anything had to be done."""
        ground = self._ground
        if self._resolvers is not None:
            ground = replace(ground, resolvers=self._resolvers())
        for attempt in range(TRIES):
            present = await netfilter.saved_rules()
            if in_place(ground, workspaces, present) or self._is_accepted(ground, workspaces, present):
                return attempt > 0
            try:
                await netfilter.restore(restore_text(ground, workspaces, present))
            except ToolError:
                if attempt == TRIES - 1:
                    raise
                continue
            self._accept(ground, workspaces, await netfilter.saved_rules())
            return True
        return True

    def _is_accepted(self, ground: Ground, workspaces: tuple[Workspace, ...], present: str) -> bool:
        """An iptables of another age spells rules otherwise: then its own words of last time are compared."""
        return (ground, workspaces, by_chain(ground, present)) == self._accepted and hooked(ground, present)

    def _accept(self, ground: Ground, workspaces: tuple[Workspace, ...], present: str) -> None:
        found = by_chain(ground, present)
        wanted = by_chain(ground, "\n".join(rules(ground, workspaces)))
        # Somebody may have swept between writing and looking.
        whole = all(len(found[chain]) == len(wanted[chain]) for chain in ground.chains)
        self._accepted = (ground, workspaces, found) if whole else None

    async def check(self) -> None:
        """One look: what was swept away is put back."""
        async with self._busy:
            try:
                if await self._ensure(self._workspaces):
                    log.warning("The filter was not as it should be (a restart of Docker?); it is again.")
                limits = await self._shaper.apply(self._workspaces)
            except ToolError as error:
                limits = f"The filter cannot be checked: {error}"
            if limits and limits != self._problem:
                log.error("%s", limits)
            self._problem = limits

    # -- what outlives this process ------------------------------------------------------------------
    @property
    def _memory(self) -> Path:
        return self.path.with_suffix(".json")

    def _remember(self) -> None:
        state = [
            {"subnet": str(w.subnet), "policy": w.policy.value, "bandwidth": w.bandwidth}
            for w in self._workspaces
        ]
        with contextlib.suppress(OSError):  # the hub tells again when it starts
            write_private(self._memory, json.dumps(state))

    def recall(self) -> None:
        """Take over what the helper before this one was told; what no longer holds is dropped."""
        try:
            data = json.loads(self._memory.read_text())
        except (OSError, ValueError):
            return
        kept: list[Workspace] = []
        for entry in data if isinstance(data, list) else ():
            with contextlib.suppress(EgressError):
                kept += parse_state([entry], self._ground)
        self._workspaces = tuple({w.subnet: w for w in kept}.values())

    # -- messages ------------------------------------------------------------------------------------
    async def answer(self, line: bytes) -> dict[str, object]:
        """The answer to one message."""
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            return {"ok": False, "problem": "The message is not JSON."}
        if not isinstance(message, dict):
            return {"ok": False, "problem": "The message must be an object."}
        if message.keys() == {"op"} and message["op"] == "status":
            return {"ok": True, "enforced": len(self._workspaces), "problem": self._problem}
        if message.keys() != {"op", "workspaces"} or message["op"] != "apply":
            return {
                "ok": False,
                "problem": "The message must be {op: status} or {op: apply, workspaces: [...]}.",
            }
        try:
            return await self.apply(parse_state(message["workspaces"], self._ground))
        except (EgressError, ToolError) as error:
            log.error("A state of the hub was not applied: %s", error)
            return {"ok": False, "problem": str(error)}

    async def _serve_one(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, allowed: frozenset[int]
    ) -> None:
        try:
            peer = writer.get_extra_info("socket")
            size = struct.calcsize("3i")
            _, uid, _ = struct.unpack("3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
            if uid not in allowed:
                answer: dict[str, object] = {"ok": False, "problem": "Only the hub's user may ask."}
            else:
                try:
                    line = await asyncio.wait_for(reader.readline(), MESSAGE_SECONDS)
                except ValueError:
                    line = b"too long"
                    # A socket closed with bytes unread would cut the asker off before it reads the answer.
                    async with asyncio.timeout(MESSAGE_SECONDS):
                        while await reader.read(MOST_BYTES):
                            pass
                answer = await self.answer(line)
            writer.write(json.dumps(answer).encode() + b"\n")
            await asyncio.wait_for(writer.drain(), MESSAGE_SECONDS)
        except (OSError, TimeoutError):
            pass
        finally:
            writer.close()

    async def run(self, uid: int, ready: Callable[[], None] = lambda: None) -> None:
        """Serve until SIGTERM or SIGINT. The rules, and the socket's name, stay."""
        self.recall()
        await self.apply(self._workspaces)
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        allowed = frozenset({0, uid})

        async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await self._serve_one(reader, writer, allowed)

        server = await asyncio.start_unix_server(serve_one, sock=listen(self.path, uid), limit=MOST_BYTES)
        async with server:
            ready()
            while not stop.is_set():
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), self._interval)
                if not stop.is_set():
                    await self.check()


def listen(path: Path, uid: int) -> socket.socket:
    """A socket that only the hub's user can open, in a directory that only root can write."""
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    # A name of our own first: nobody can ask before the mode and the owner are right.
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    old = os.umask(0o177)
    try:
        listener.bind(str(fresh))
    finally:
        os.umask(old)
    os.chown(fresh, uid, -1)
    listener.listen(16)
    fresh.replace(path)
    return listener


async def remove(hub_id: str) -> bool:
    """Take away a hub's rules, its socket and its memory; whether there were rules."""
    text = removal_text(hub_id, await netfilter.saved_rules())
    if text:
        await netfilter.restore(text)
    for path in (socket_path(hub_id), socket_path(hub_id).with_suffix(".json")):
        path.unlink(missing_ok=True)
    return bool(text)
