"""What the audit log says of the hub's own API and pages: every write, by whom, and with which answer.

A request is written down when it has been answered. What has a record of its own that says more (logins,
proofs of a fresh login, locks, starts) is left out here, unless it was refused.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import unquote

from jupyterhub import orm
from jupyterhub.handlers.login import LogoutHandler
from jupyterhub.log import log_request
from jupyterhub.utils import maybe_future
from oauthenticator.oauth2 import OAuthLogoutHandler
from tornado.web import HTTPError

from persistent_terminal_hub import audit

WRITES: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_SERVER = r"api/users/(?P<user>[^/]+)/servers?(?:/(?P<name>[^/]*))?"
#: (methods, address below the hub's base, what). None: has a record of its own, or changes nothing.
_TABLE: Final[list[tuple[str, re.Pattern[str], str | None]]] = [
    (methods, re.compile(pattern), what)
    for methods, pattern, what in (
        ("*", r"api/(oauth2|authorizations)/.*|oauth_login|oauth_callback", None),
        (
            "*",
            r"api/users/[^/]+/activity|api/proxy",
            None,
        ),  # workspaces' and the supervisor's
        ("*", r"login|reauth(/.*)?|passkeys(/.*)?|persistent-terminals/api/lock", None),
        ("*", r"spawn(/.*)?", None),
        ("POST", _SERVER, "server.start"),
        ("DELETE", _SERVER, "server.stop"),
        ("*", _SERVER, "server.change"),
        ("POST", r"api/users/(?P<user>[^/]+)/tokens", "token.create"),
        ("DELETE", r"api/users/(?P<user>[^/]+)/tokens/[^/]*", "token.revoke"),
        ("POST", r"api/users(/(?P<user>[^/]+))?", "user.create"),
        ("DELETE", r"api/users/(?P<user>[^/]+)", "user.remove"),
        ("*", r"api/users/(?P<user>[^/]+)", "user.change"),
        ("*", r"api/groups(/(?P<user>[^/]+)(/.*)?)?", "group.change"),
        ("*", r"api/(shares|share-codes)/.*|api/(users|groups)/[^/]+/shared/.*", "share.change"),
        ("POST", r"signup", "account.sign_up"),
        ("POST", r"change-password(/(?P<user>[^/]+))?", "account.password"),
        ("POST", r"authorize", "account.approve"),
        ("*", r"(?s:.*)", "hub.write"),
    )
]


def described(method: str, path: str) -> tuple[str, str] | None:
    """What a request is and on what; None when nothing is to be written down. `path` is below the base."""
    if method not in WRITES:
        return None
    for methods, pattern, what in _TABLE:
        found = pattern.fullmatch(path) if methods in ("*", method) else None
        if found is None:
            continue
        if what is None:
            return None
        parts = found.groupdict()
        user = parts.get("user")
        if user is None:
            return what, path[:200]
        return what, unquote(f"{user}/{parts.get('name') or ''}" if what.startswith("server.") else user)
    return None


def event_of(method: str, path: str, status: int, who: str, origin: str) -> dict[str, Any] | None:
    """The record; None: there is none."""
    found = described(method, path)
    if found is None:
        return None
    what, on = found
    if what == "server.start" and status < 400:  # the spawner writes starts down, whoever asked and however
        return None
    result = "ok" if status < 400 else "refused"
    return {"who": who, "what": what, "on": on, "origin": origin, "method": method, "result": result,
            "code": status}  # fmt: skip


def name_of(person: Any) -> str:
    """Of whom JupyterHub knows: a user, a service, nobody."""
    name = str(getattr(person, "name", "") or "")
    return f"service:{name}" if isinstance(person, orm.Service) else name


#: What our own services ask every few seconds: said only when it fails, or nothing else would be read.
POLLED = ("/persistent-terminals/api/running", "/persistent-terminals/api/orphans")


def recording(log: Callable[[Any], None] = log_request) -> Callable[[Any], None]:
    """JupyterHub's `log_function`, which also writes writes down."""

    def log_and_record(handler: Any) -> None:
        request = handler.request
        if not (handler.get_status() == 200 and request.path.endswith(POLLED)):
            log(handler)
        base = str(handler.settings["hub"].base_url)
        if not request.path.startswith(base):
            return
        try:
            who = name_of(handler.current_user)
        except (HTTPError, RuntimeError):  # it was refused before anybody looked
            who = ""
        path, origin = request.path.removeprefix(base), str(request.remote_ip or "")
        event = event_of(request.method, path, handler.get_status(), who, origin)
        if event is not None:
            asyncio.get_running_loop().run_in_executor(None, audit.record, event)

    return log_and_record


class RecordedLogout(LogoutHandler):
    """`/hub/logout`."""

    async def default_handle_logout(self) -> None:
        """Called for each logout, while it is still known whose."""
        who = name_of(self.current_user)
        await super().default_handle_logout()
        if who:
            origin = str(self.request.remote_ip or "")
            event = {"who": who, "what": "logout", "on": "hub", "origin": origin, "result": "ok"}
            await asyncio.to_thread(audit.record, event)


class RecordedOAuthLogout(RecordedLogout, OAuthLogoutHandler):
    """The same, which also forgets what the identity provider told."""


class RecordedSpawns:
    """Mixin of a spawner: starts and stops are written down, whoever asked for them and however."""

    async def run_pre_spawn_hook(self: Any) -> Any:
        """Called before each start."""
        handler = getattr(self, "handler", None)
        who = name_of(getattr(handler, "current_user", None)) if handler is not None else ""
        origin = str(handler.request.remote_ip or "") if handler is not None else ""
        await self._write_down("server.start", "begun", who=who, origin=origin)
        return await maybe_future(super().run_pre_spawn_hook())  # type: ignore[misc]

    async def run_post_stop_hook(self: Any) -> Any:
        """Called after each stop, and after a start that failed."""
        await self._write_down("server.stopped", "ok")
        return await maybe_future(super().run_post_stop_hook())  # type: ignore[misc]

    async def _write_down(self: Any, what: str, result: str, **fields: str) -> None:
        event = {"what": what, "on": f"{self.user.name}/{self.name}", "result": result, **fields}
        await asyncio.to_thread(audit.record, event)
