"""REST: the sessions of a workspace, and the workspaces of a hub."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote, urljoin

import httpx

from persistent_terminal_hub.protocol.messages import Exit

from . import errors
from .errors import ClientError, NoSuchSession, NoSuchWorkspace, Unreachable
from .place import Place, find_place
from .received import Chunk

if TYPE_CHECKING:
    from .session import Attachment

#: Seconds for one request; a server that is being started answers late.
TIMEOUT = 30.0
#: What only the answer to a creation has: it is used here, not shown.
_ACCESS = frozenset({"token", "tokenExpiresIn", "webSocketUrl"})


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """A session as the API describes it; `raw` has every field."""

    id: str
    name: str
    state: str
    raw: Mapping[str, Any] = field(repr=False)

    @classmethod
    def of(cls, value: Mapping[str, Any]) -> Self:
        """From the API's JSON."""
        return cls(str(value["id"]), str(value["name"]), str(value["state"]), value)

    @property
    def ended(self) -> bool:
        """Whether its program is gone."""
        return self.state == "ended"


@dataclass(frozen=True, slots=True)
class WorkspaceInfo:
    """A workspace as the hub describes it."""

    user: str
    name: str
    url: str
    ready: bool
    display_name: str = ""


class _Http:
    """Requests to one place, with its token and errors that are sentences."""

    def __init__(
        self,
        place: Place,
        tls: ssl.SSLContext | None = None,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.place = place
        # The machine's own store of authorities (and SSL_CERT_FILE), because intranets have their own.
        self.tls = tls or (ssl.create_default_context() if place.url.startswith("https:") else None)
        self._client = httpx.AsyncClient(
            base_url=place.url,
            headers={**place.headers, "Accept": "application/json"},
            timeout=TIMEOUT,
            # A redirect leads to a login page, or the token to somebody else.
            follow_redirects=False,
            trust_env=not place.local,
            verify=True if self.tls is None else self.tls,
            transport=transport,
        )

    async def aclose(self) -> None:
        """Close its connections."""
        await self._client.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _request(self, method: str, path: str, body: object = None) -> Any:
        response = await self._answer(method, path, body)
        value = _json_of(response)
        if value is None and response.status_code != 204 and response.content:
            raise Unreachable(f"{self.place.url} answers, but not as a JupyterHub or a workspace does.")
        return value

    async def _answer(self, method: str, path: str, body: object = None) -> httpx.Response:
        """One that is no refusal, of whatever type."""
        try:
            response = await self._client.request(method, path, json=body)
        except httpx.HTTPError as error:
            detail = str(error) or type(error).__name__
            raise Unreachable(f"{self.place.url} does not answer ({detail}).") from None
        except httpx.InvalidURL:
            raise errors.NotConfigured(f"{self.place.url} is not an address.") from None
        if response.is_success:
            return response
        if response.is_redirect:
            raise Unreachable(
                f"{self.place.url} sends elsewhere ({response.headers.get('location', '?')[:200]}).",
                "Is the address right, https included, and does the workspace run?",
            )
        value = _json_of(response)
        raise errors.of_status(response.status_code, value if isinstance(value, dict) else {})


def _json_of(response: httpx.Response) -> Any:
    try:
        return response.json() if response.content else None
    except ValueError:
        return None


class Workspace(_Http):
    """The sessions of one workspace."""

    def __init__(self, url: str, token: str, *, tls: ssl.SSLContext | None = None, label: str = "") -> None:
        super().__init__(Place(url if url.endswith("/") else url + "/", token), tls)
        self.label = label
        self._tokens: dict[str, str] = {}  # of sessions that were created here, until their first attach

    _ROOT = "persistent-terminals/api/sessions"

    async def list(self) -> list[SessionInfo]:
        """All sessions: running ones, oldest first, then ended ones."""
        return [SessionInfo.of(item) for item in await self._request("GET", self._ROOT)]

    async def get(self, session: str) -> SessionInfo:
        """One session, by id or name."""
        return SessionInfo.of(await self._request("GET", self._item(session)))

    async def create(
        self,
        name: str | None = None,
        *,
        argv: Sequence[str] | None = None,
        shell: str | None = None,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        rows: int | None = None,
        cols: int | None = None,
    ) -> SessionInfo:
        """Start a session; without `argv` it is a shell. A running session of this name is a `Conflict`."""
        wishes: dict[str, object] = {
            "name": name, "argv": list(argv) if argv else None, "shell": shell, "cwd": cwd,
            "env": dict(env) if env else None, "rows": rows, "cols": cols,
        }  # fmt: skip
        body = {key: value for key, value in wishes.items() if value is not None}
        answer = await self._request("POST", self._ROOT, body)
        info = SessionInfo.of({key: value for key, value in answer.items() if key not in _ACCESS})
        if isinstance(token := answer.get("token"), str):
            self._tokens[info.id] = token
        return info

    async def ensure(self, name: str, **wishes: Any) -> tuple[SessionInfo, bool]:
        """The running session of this name, made with `wishes` if there is none; and whether it was made."""
        try:
            found = await self.get(name)
            if not found.ended:
                return found, False
        except NoSuchSession:
            pass
        try:
            return await self.create(name, **wishes), True
        except errors.Conflict:  # somebody else was quicker
            return await self.get(name), False

    async def rename(self, session: str, name: str) -> SessionInfo:
        """Give a session another name; attached clients stay."""
        return SessionInfo.of(await self._request("PATCH", self._item(session), {"name": name}))

    async def delete(self, session: str) -> None:
        """End a running session; forget an ended one."""
        await self._request("DELETE", self._item(session))

    async def output(self, session: str) -> Chunk:
        """The bytes that are kept of what a session printed, also of one that has ended.

        `start` is where they begin in all of its output. Raises Unreachable when they grew so fast that the
        oldest were gone before they were sent.
        """
        response = await self._answer("GET", f"{self._item(session)}/output")
        return Chunk(_offset(response), response.content, 0)

    async def output_text(self, session: str) -> str:
        """The newest 8 MiB of them as lines to read: no colours, and of a line that was written anew its last
        form. A full-screen program leaves pieces."""
        return (await self._answer("GET", f"{self._item(session)}/output?format=text")).text

    async def exit_of(self, session: str) -> Exit:
        """How an ended session ended; `reason` is "unknown" where nobody knows any more."""
        with contextlib.suppress(ClientError):
            how = (await self.get(session)).raw.get("exit")
            if isinstance(how, dict):
                if isinstance(how.get("code"), int):
                    return Exit(code=how["code"])
                with contextlib.suppress(KeyError, TypeError):
                    return Exit(signal=signal.Signals[how["signal"]].value)
                return Exit(reason=str(how.get("reason") or "unknown"))
        return Exit(reason="unknown")

    async def attach(self, session: str, **options: Any) -> Attachment:
        """Attach to a running session and wait until it is live; see `Attachment` for the options."""
        from .session import Attachment

        info = await self.get(session)
        if info.ended:
            raise errors.SessionEnded(f"The session {info.name!r} has ended.")
        options.setdefault("token", self._tokens.pop(info.id, None))
        attachment = Attachment(
            self.socket_url(info.id), self.place, tls=self.tls, how=lambda: self.exit_of(info.id), **options
        )
        await attachment.open()
        return attachment

    def socket_url(self, session_id: str) -> str:
        """The WebSocket of a session."""
        address = urljoin(self.place.url, f"persistent-terminals/ws/sessions/{quote(session_id, safe='')}")
        return "ws" + address.removeprefix("http")

    def _item(self, session: str) -> str:
        return f"{self._ROOT}/{quote(session, safe='')}"


def _offset(response: httpx.Response) -> int:
    value = response.headers.get("pth-start", "")
    if not value.isdigit():
        raise Unreachable(f"{response.url.host} answers, but not as a workspace does.")
    return int(value)


class Hub(_Http):
    """The workspaces that a hub knows."""

    def __init__(self, url: str, token: str, *, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(Place(url if url.endswith("/") else url + "/", token, is_hub=True), tls)

    async def whoami(self) -> str:
        """The name of the token's owner."""
        return str((await self._request("GET", "hub/api/user"))["name"])

    async def workspaces(self, user: str | None = None) -> list[WorkspaceInfo]:
        """A user's workspaces, stopped ones included, as far as the token may see them."""
        user = user or await self.whoami()
        try:
            model = await self._request(
                "GET", f"hub/api/users/{quote(user, safe='')}?include_stopped_servers=1"
            )
        except NoSuchWorkspace:
            raise NoSuchWorkspace(
                f"The hub shows this token no user {user!r}.", "Is the name right, and the token allowed?"
            ) from None
        return [self._info(user, server) for server in (model.get("servers") or {}).values()]

    async def workspace(
        self, name: str = "", user: str | None = None, *, start: bool = False, patience: float = 300.0
    ) -> Workspace:
        """A workspace that runs; with `start` it is started, and waited for, if it does not."""
        user = user or await self.whoami()
        label = f"{user}/{name}"
        deadline = asyncio.get_running_loop().time() + patience
        asked = False
        while True:
            info = next((item for item in await self.workspaces(user) if item.name == name), None)
            if info is not None and info.ready:
                return Workspace(
                    urljoin(self.place.url, info.url), self.place.token, tls=self.tls, label=label
                )
            if not start:
                raise NoSuchWorkspace(
                    f"The workspace {label} does not run." if info else f"There is no workspace {label}.",
                    "Start it in the browser, or with --create.",
                )
            if not asked:
                await self._start(user, name)
                asked = True
            elif asyncio.get_running_loop().time() > deadline:
                raise Unreachable(f"The workspace {label} did not start within {patience:.0f} s.")
            await asyncio.sleep(1)

    async def _start(self, user: str, name: str) -> None:
        path = f"hub/api/users/{quote(user, safe='')}/server"
        path = f"{path}s/{quote(name, safe='')}" if name else path
        try:
            await self._request("POST", path, {})
        except (errors.Refused, errors.Unreachable) as error:
            # 400: it is being started already, or the name is wrong; 424, 5xx: a slow start. The list tells.
            if "pending" not in error.message and "already running" not in error.message:
                raise

    def _info(self, user: str, server: Mapping[str, Any]) -> WorkspaceInfo:
        return WorkspaceInfo(
            user=user,
            name=str(server.get("name") or ""),
            url=str(server.get("full_url") or server.get("url") or ""),
            ready=bool(server.get("ready")),
            display_name=str(server.get("display_name") or ""),
        )


async def find_workspace(
    name: str = "",
    user: str | None = None,
    *,
    hub: str | None = None,
    server: str | None = None,
    start: bool = False,
    tls: ssl.SSLContext | None = None,
) -> Workspace:
    """The workspace that the arguments, the environment or the token file lead to; see `place.find_place`."""
    place = find_place(hub=hub, server=server)
    if not place.is_hub:
        return Workspace(place.url, place.token, tls=tls)
    async with Hub(place.url, place.token, tls=tls) as found:
        return await found.workspace(name, user, start=start)


__all__ = ["ClientError", "Hub", "SessionInfo", "Workspace", "WorkspaceInfo", "find_workspace"]
