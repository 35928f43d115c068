"""The process: settings in, routes out, ends on SIGTERM.

It is told where the hub is as `services.py` says. Whatever it must remember is in the database, so that it
may be killed at any moment and several instances may run.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import secrets
import signal
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from jupyterhub.services.auth import HubOAuthCallbackHandler
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session
from tornado.httpserver import HTTPServer
from tornado.web import Application

from persistent_terminal_hub.audit import Outbox
from persistent_terminal_hub.control import operation_records
from persistent_terminal_hub.control.audit_command import AUDIT_KEYS, database_url
from persistent_terminal_hub.control.audit_drain import DRAIN_SECONDS, AuditDrain
from persistent_terminal_hub.control.audit_log import AuditLog, Entry
from persistent_terminal_hub.control.board_gathering import Gathering
from persistent_terminal_hub.control.database import Database, DatabaseError
from persistent_terminal_hub.control.hub import Hub
from persistent_terminal_hub.control.idempotency import IdempotentRequests
from persistent_terminal_hub.control.leftovers import Leftovers, Removal
from persistent_terminal_hub.control.operation_runner import Runner
from persistent_terminal_hub.control.operation_store import OperationStore, Task
from persistent_terminal_hub.control.operations import FINAL, Course, State
from persistent_terminal_hub.control.sealing_source import LateKeys
from persistent_terminal_hub.control.secret_delivery import SecretDelivery
from persistent_terminal_hub.control.secrets import SecretStore
from persistent_terminal_hub.control.session_index import SessionIndex
from persistent_terminal_hub.control.usage_sampling import UsageSampling
from persistent_terminal_hub.control.usage_store import UsageStore
from persistent_terminal_hub.control.web import MAX_BODY, NotFound
from persistent_terminal_hub.control.workspace_link import WorkspaceLink
from persistent_terminal_hub.control.workspace_steps import WorkspaceSteps
from persistent_terminal_hub.control.workspaces import Workspaces
from persistent_terminal_hub.sealing import MAX_PLAIN, Sealer, SealingError
from persistent_terminal_hub.sealing_keys import FileKeys
from persistent_terminal_hub.services import Place, begin, complain
from persistent_terminal_hub.settings import Settings
from persistent_terminal_hub.signing_keys import DAY, KeyStore

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

#: Blocking calls (database, disk) at the same time.
THREADS = 16
#: Of the largest body, which execute's standard input needs.
MAX_REQUEST = 16 * MAX_BODY


class Control:
    """What handlers work with."""

    def __init__(self, settings: Settings, place: Place, database: Database) -> None:
        data = settings.data_dir.expanduser().absolute()
        self.settings = settings
        self.place = place
        self.database = database
        #: Names this process in leases and claims.
        self.instance = secrets.token_hex(8)
        self.keys = KeyStore(data / "keys", max_age=settings.auth.signing_key_days * DAY)
        self.hub = Hub(place.api_url, place.api_token)
        self.workspaces = WorkspaceLink(self.hub, self.keys, place.hub_id)
        self.idempotent = IdempotentRequests(database, self.instance)
        self.outbox = Outbox(data / "audit")
        self.sealer = Sealer(LateKeys(settings))
        self.secrets = SecretStore(database, self.sealer)
        self.delivery = SecretDelivery(self.hub, self.workspaces, self.secrets, self.blocking)
        self.usage = UsageStore(database)
        self.sampling = UsageSampling(self.hub, self.workspaces, self.usage, settings.usage, self.blocking)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="pth-control")
        self._background: set[asyncio.Future[Any]] = set()
        self.audit_log = AuditLog(database, FileKeys(self.keys.path / AUDIT_KEYS))
        self.operations = OperationStore(database, self.sealer)
        self.table = Workspaces(database, self.operations)
        self.sessions = SessionIndex(database)
        self.gathering = Gathering(self.hub, self.workspaces, self.table, self.blocking)
        removal = Removal(database, self.audit_log)
        self.leftovers = Leftovers(self.hub, removal, self.blocking)
        steps = WorkspaceSteps(
            self.hub,
            self.workspaces,
            database,
            self.blocking,
            secrets=self.secrets,
            delivery=self.delivery,
            removal=removal,
            start_seconds=settings.workspace.start_timeout_seconds,
            stop_seconds=settings.workspace.stop_timeout_seconds,
        )
        self.runner = Runner(self.operations, steps.table(), self.instance, self.blocking, self._operation_at)
        self.drain = AuditDrain(self.outbox, self.audit_log, data / "audit", self.keys.path, settings)

    async def blocking(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The result of a blocking call, made in a thread."""
        call = asyncio.get_running_loop().run_in_executor(self._threads, lambda: function(*args, **kwargs))
        return await call

    async def record(self, **fields: object) -> None:
        """Write down what happened; see `audit.Outbox.record`."""
        await self.blocking(lambda: self.outbox.record(**fields))

    def background(self, work: Coroutine[Any, Any, Any]) -> None:
        """Do something that nobody waits for; it is finished before this process ends."""
        task = asyncio.ensure_future(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    def seal_answer(self, user: str, body: Any) -> list[str]:
        """An answer as it may lie in the database."""
        text = json.dumps(body).encode()
        parts = [text[at : at + MAX_PLAIN] for at in range(0, len(text), MAX_PLAIN)]
        seal = self.sealer.seal
        return [seal(part, owner=user, purpose=f"answer:{n}") for n, part in enumerate(parts)]

    def open_answer(self, user: str, sealed: list[str]) -> Any:
        """What `seal_answer` sealed. Raises SealingError."""
        unseal = self.sealer.open
        parts = (unseal(part, owner=user, purpose=f"answer:{n}") for n, part in enumerate(sealed))
        return json.loads(b"".join(parts))

    def _operation_at(self, task: Task, course: Course, session: Session) -> None:
        """An operation begins or ends. Its row and its record say so together, or neither: one of them alone
        would be contradicted when we die, and it is cancelled before another instance goes on."""
        events: list[dict[str, Any]] = []
        if task.course.state is State.WAITING:  # as it was when this instance took it
            events.append(operation_records.asked(task))
        if course.state in FINAL:
            events.append(operation_records.ended(task, course, time.time()))
        if events:
            self.audit_log.append_in(session, [Entry.of(event) for event in events])

    async def close(self) -> None:
        """Let go of everything."""
        await self.gathering.close()
        await self.leftovers.close()
        await self.sampling.close()
        await self.delivery.close()
        await asyncio.gather(*self._background, return_exceptions=True)
        await self.workspaces.close()
        await self.hub.close()
        self._threads.shutdown()
        self.database.close()


def cookie_secret(path: Path) -> bytes:
    """32 bytes in a private file, made once: a restarted service still knows its browsers."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, secrets.token_bytes(32))
        os.fsync(fd)
        with contextlib.suppress(FileExistsError):
            os.link(temporary, path)  # the first of several processes wins
    finally:
        os.close(fd)
        temporary.unlink()
    return path.read_bytes()


def make_app(control: Control, routes: list[tuple[Any, ...]]) -> Application:
    """The application. `routes` are relative to the service's prefix and begin without a slash."""
    prefix = control.place.prefix
    return Application(
        [
            (prefix + "oauth_callback", HubOAuthCallbackHandler),
            *((prefix + route[0], *route[1:]) for route in routes),
            (r".*", NotFound),
        ],
        control=control,
        cookie_secret=cookie_secret(control.keys.path / "terminals-cookie"),
        # Not by Tornado, which would ask before anybody knows whether a token or a cookie came:
        # JupyterHub's `get_user` does for every cookie (`ApiHandler.check_xsrf_cookie`).
        xsrf_cookies=False,
        compress_response=False,
        default_handler_class=NotFound,
    )


async def serve(settings: Settings, place: Place) -> None:
    """Answer until SIGTERM or SIGINT."""
    from persistent_terminal_hub.control.routes import routes

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    database = Database(database_url(settings))
    control = Control(settings, place, database)
    working: list[asyncio.Future[None]] = []
    try:
        await control.blocking(database.migrate)
        server = HTTPServer(
            make_app(control, routes()),
            # The proxy is the only one who connects; it names the browser's address.
            xheaders=True,
            max_body_size=MAX_REQUEST,
        )
        server.listen(settings.control.port, "127.0.0.1")
        working = [asyncio.ensure_future(work) for work in (control.runner.run(), chores(control))]
        log.info(
            "Serving %s on 127.0.0.1:%d, database %s", place.prefix, settings.control.port, database.name
        )
        control.delivery.start()
        control.sampling.start()
        control.leftovers.start()
        await stop.wait()
        server.stop()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(server.close_all_connections(), 5)
    finally:
        for task in working:
            task.cancel()
        await asyncio.gather(*working, return_exceptions=True)
        await control.close()


async def chores(control: Control) -> None:
    """What is to be done again and again."""
    forget_at = 0.0
    loop = asyncio.get_running_loop()
    while True:
        try:
            await control.blocking(control.drain.once)
            if loop.time() >= forget_at:
                forget_at = loop.time() + 3600
                await control.blocking(control.idempotent.forget_old)
                await control.blocking(control.operations.forget_old)
        except (SQLAlchemyError, OSError, SealingError) as error:
            log.error("Chores wait (%s): the database or the disk does not answer.", type(error).__name__)
        await asyncio.sleep(DRAIN_SECONDS)


def main() -> int:
    """Run until told to stop; the exit code."""
    found = begin("control service", has_address=True)
    if found is None:
        return 1
    settings, place = found
    # A line for each question to the hub and to workspaces would hide all others.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    logging.basicConfig(
        format="%(levelname)s: %(name)s: %(message)s", level=max(settings.log_level, "INFO", key=_level)
    )
    try:
        asyncio.run(serve(settings, place))
    except DatabaseError as error:
        complain(str(error))
        return 1
    except OSError as error:
        complain(
            f"The control service cannot listen on 127.0.0.1:{settings.control.port} ({error.strerror}): "
            "stop what uses the port, or set control.port."
        )
        return 1
    return 0


def _level(name: str) -> int:
    return logging.getLevelNamesMapping()[name]
