"""Workspaces by the control service: make them, look at them, run commands in them, end them.

`key` names a workspace: its id, `lab` (mine), `alice/lab`, `alice/` (her default one).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from . import errors
from .control_http import ControlHttp
from .executing import Executed, OnOutput, command_body, executed, read_stream
from .shapes import Change, Egress, Me, Stats, Status, WorkspaceDetails

_ID = re.compile(r"[0-9a-f]{32}")
#: Seconds of a command's answer beyond its own time.
_MARGIN = 30.0
#: Seconds that a command may take if nobody said.
_LONGEST = 3600.0

Lines = list[str]


class Workspaces:
    """Those that the token may see."""

    def __init__(self, http: ControlHttp) -> None:
        self._http = http
        self._me = ""

    async def list(self, *, owner: str | None = None, status: Status | None = None) -> list[WorkspaceDetails]:
        """The own ones; of all people whom the token may see, if it may; or of one `owner`."""
        answer = await self._http.ask("GET", "workspaces", query={"owner": owner, "status": status})
        found = answer.get("workspaces") if isinstance(answer, dict) else None
        return [self._http.parse(WorkspaceDetails, item) for item in found or ()]

    async def get(self, key: str) -> WorkspaceDetails:
        """One of them."""
        return await self._http.ask_for(WorkspaceDetails, "GET", await self._item(key))

    async def create(
        self, name: str, *, display_name: str | None = None, image: str | None = None,
        cpu: float | None = None, memory: str | None = None, pids: int | None = None,
        egress: Egress | None = None, env: Mapping[str, str] | None = None, start: bool = True,
        secrets: Mapping[str, str] | None = None, source: Mapping[str, Any] | None = None,
    ) -> Change:  # fmt: skip
        """Begin to make one; `operations.wait` waits for its end.

        `secrets` are its own; `source` is a repository (see `clone`).
        """
        body = _made_of(display_name, image, cpu, memory, pids, egress) | {"name": name, "start": start}
        if env:
            body["env"] = dict(env)
        if secrets:
            body["secrets"] = dict(secrets)
        if source:
            body["source"] = dict(source)
        return await self._http.ask_for(Change, "POST", "workspaces", body)

    async def clone(
        self, url: str, name: str, *, branch: str | None = None, depth: int | None = None,
        submodules: bool = False, install: bool = False, folder: str | None = None,
        credentials: tuple[str, str] | None = None, credentials_secret: str | None = None, **wishes: Any,
    ) -> Change:  # fmt: skip
        """Begin to make one with a repository in it.

        `credentials`: user and password for that host; or the name of a secret that holds `user:token`, or an
        ssh key. The other `wishes` are those of `create`.
        """
        given: dict[str, Any] = {
            "url": url, "branch": branch, "depth": depth, "submodules": submodules, "install": install,
            "folder": folder, "credentialsSecret": credentials_secret,
        }  # fmt: skip
        source = {name: value for name, value in given.items() if value is not None}
        if credentials:
            source["credentials"] = {"username": credentials[0], "password": credentials[1]}
        return await self.create(name, source=source, **wishes)

    async def patch(
        self, key: str, *, display_name: str | None = None, image: str | None = None,
        cpu: float | None = None, memory: str | None = None, pids: int | None = None,
        egress: Egress | None = None, env: Mapping[str, str] | None = None,
    ) -> WorkspaceDetails:  # fmt: skip
        """Change it; what it is made of counts from its next start. `env` replaces all of it."""
        body = _made_of(display_name, image, cpu, memory, pids, egress)
        if env is not None:
            body["env"] = dict(env)
        return await self._http.ask_for(WorkspaceDetails, "PATCH", await self._item(key), body)

    async def start(self, key: str) -> Change:
        """Begin to start it."""
        return await self._act(key, "start")

    async def stop(self, key: str) -> Change:
        """Begin to stop it; its files stay."""
        return await self._act(key, "stop")

    async def restart(self, key: str) -> Change:
        """Begin to stop and start it."""
        return await self._act(key, "restart")

    async def delete(self, key: str) -> Change:
        """Begin to delete it with its files."""
        return await self._http.ask_for(Change, "DELETE", await self._item(key))

    async def execute(
        self, key: str, command: str | Sequence[str], *, timeout: float | None = None, cwd: str = "",
        env: Mapping[str, str] | None = None, stdin: str | bytes = b"", on_output: OnOutput | None = None,
    ) -> Executed:  # fmt: skip
        """Run a command to its end: a list as it is, a text by /bin/sh. `timeout` is in seconds.

        A cut ends the command, and it is never run twice. With `on_output` the outputs come as they are
        written, and a cut raises Unreachable. Without it the request is repeated with the same key: a command
        that had ended is answered, one that was cut off in the middle raises Conflict.
        """
        body = command_body(
            command, timeout=timeout, cwd=cwd, env=env, stdin=stdin, stream=on_output is not None
        )
        path = f"{await self._item(key)}/execute"
        seconds = (timeout or _LONGEST) + _MARGIN
        if on_output is None:
            return executed(await self._http.ask("POST", path, body, seconds=seconds))
        async with self._http.stream("POST", path, body, silence=seconds) as response:
            return await read_stream(response.aiter_bytes(), on_output)

    async def logs(self, key: str, lines: int = 200) -> Lines:
        """The last lines that its own programs printed, also after a failed start."""
        answer = await self._http.ask("GET", f"{await self._item(key)}/logs", query={"lines": lines})
        found = answer.get("lines") if isinstance(answer, dict) else None
        return [str(line) for line in found or ()]

    async def stats(self, key: str) -> Stats:
        """What it uses now."""
        return await self._http.ask_for(Stats, "GET", f"{await self._item(key)}/stats")

    async def key(self, key: str) -> str:
        """As the service takes it: an id, or `user~name`."""
        if _ID.fullmatch(key):
            return key
        user, slash, name = key.rpartition("/")
        if (slash and not user) or "/" in user:
            raise errors.NotConfigured(f"{key!r} names no workspace.", "Write NAME, USER/NAME, or USER/.")
        if not slash and "~" in key:
            return key
        return f"{user or await self._whoami()}~{name}"

    async def _whoami(self) -> str:
        if not self._me:
            self._me = (await self._http.ask_for(Me, "GET", "me")).name
        return self._me

    async def _item(self, key: str) -> str:
        return f"workspaces/{quote(await self.key(key), safe='~')}"

    async def _act(self, key: str, action: str) -> Change:
        return await self._http.ask_for(Change, "POST", f"{await self._item(key)}/{action}", {})


def _made_of(
    display_name: str | None, image: str | None, cpu: float | None, memory: str | None, pids: int | None,
    egress: str | None,
) -> dict[str, Any]:  # fmt: skip
    resources = {"cpu": cpu, "memory": memory, "pids": pids}
    resources = {name: value for name, value in resources.items() if value is not None}
    wishes = {
        "displayName": display_name,
        "image": image,
        "egress": egress,
        "resources": resources or None,
    }
    return {name: value for name, value in wishes.items() if value is not None}
