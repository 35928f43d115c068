"""`persistent-terminals/api/clone`: begin a clone, ask how far it is, call it off."""

from __future__ import annotations

import asyncio
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from jupyter_server.auth.decorator import allow_unauthenticated
from jupyter_server.utils import url_path_join
from pydantic import Field

from persistent_terminal_hub.bodies import Body

from . import clone_setup
from .by_hub import HubOrOwnerHandler
from .clone import Wish, clean, clone
from .clone_url import BadUrl, check_branch, check_folder, judge
from .disk_quota import check_quota
from .environment import session_environment
from .errors import SessionError
from .execute_routes import inside
from .manager import PersistentTerminalManager

log = logging.getLogger(__name__)

SETTING = "persistent_terminal_clones"
AT_ONCE = 4
#: Ended ones whose end is remembered.
REMEMBERED = 100


class Credentials(Body):
    """For the repository's host."""

    username: str = Field(min_length=1, max_length=255, pattern=r"^[^\x00-\x1f\x7f]+$")
    password: str = Field(min_length=1, max_length=4096, pattern=r"^[^\x00\r\n]+$", repr=False)


class Clone(Body):
    """What to clone. `id` names it: asked for again, it is the same one."""

    id: str = Field(pattern=r"^[0-9a-f]{8,64}$")
    url: str = Field(max_length=4096)
    folder: str | None = Field(None, max_length=1024)
    branch: str | None = Field(None, max_length=255)
    depth: int | None = Field(None, ge=1, le=1_000_000)
    submodules: bool = False
    install: bool = False
    credentials: Credentials | None = None
    ssh_key: str | None = Field(
        None, alias="sshKey", min_length=1, max_length=32 * 1024, pattern=r"^[^\x00]+$", repr=False
    )


@dataclass(slots=True)
class Job:
    """A clone that is under way or has ended."""

    target: Path
    relative: str
    state: Literal["running", "done", "failed", "cancelled"] = "running"
    percent: int = 0
    message: str = "Cloning the repository."
    setup_session: str | None = None
    task: asyncio.Task[None] | None = None

    def tell(self, percent: int, message: str) -> None:
        """How far it is."""
        self.percent, self.message = max(self.percent, percent), message

    def model(self) -> dict[str, Any]:
        """As it is answered."""
        return {
            "state": self.state,
            "percent": self.percent,
            "message": self.message,
            "path": self.relative,
            "setupSession": self.setup_session,
        }


class Clones:
    """Those of this server."""

    def __init__(self, home: Path, manager: PersistentTerminalManager | None) -> None:
        self.home = home
        self._manager = manager
        self._jobs: dict[str, Job] = {}

    def begin(self, body: Clone) -> Job:
        """The job; a new one unless it is known. Raises SessionError."""
        known = self._jobs.get(body.id)
        if known is not None and known.state in ("running", "done"):
            return known
        wish, relative = self._wish(body)
        running = [job for job in self._jobs.values() if job.state == "running"]
        if len(running) >= AT_ONCE:
            raise SessionError(429, f"{AT_ONCE} repositories are being cloned already.", "Try again later.")
        if any(job.target == wish.target for job in running):
            raise SessionError(409, "Another repository is being cloned into that folder.")
        job = self._jobs[body.id] = Job(wish.target, relative)
        job.task = asyncio.ensure_future(self._work(job, wish, body.install))
        for identity in [i for i, old in self._jobs.items() if old.state != "running"][:-REMEMBERED]:
            del self._jobs[identity]
        return job

    def find(self, identity: str) -> Job:
        """Raises SessionError 404."""
        job = self._jobs.get(identity)
        if job is None:
            raise SessionError(404, "This server knows of no such clone.", "Begin it again.")
        return job

    def _wish(self, body: Clone) -> tuple[Wish, str]:
        try:
            repository = judge(body.url)
            relative = check_folder(body.folder if body.folder is not None else repository.name)
            branch = check_branch(body.branch) if body.branch is not None else None
        except BadUrl as error:
            raise SessionError(422, f"{error} Nothing was cloned.") from None
        if body.credentials is not None and repository.scheme != "https":
            raise SessionError(422, "Credentials are for https URLs only; nothing was cloned.")
        if body.ssh_key is not None and repository.scheme != "ssh":
            raise SessionError(422, "An ssh key is for ssh URLs only; nothing was cloned.")
        parent, _, name = relative.rpartition("/")
        given = body.credentials
        wish = Wish(
            id=body.id,
            repository=repository,
            target=inside(self.home, parent) / name,
            branch=branch,
            depth=body.depth,
            submodules=body.submodules,
            username=given.username if given else "",
            password=given.password if given else "",
            ssh_key=body.ssh_key or "",
        )
        return wish, relative

    async def _work(self, job: Job, wish: Wish, install: bool) -> None:
        extra = getattr(self._manager, "extra_env", None) or {}
        env = session_environment(os.environ, extra, getattr(self._manager, "variables", {}), name="")
        try:
            await clone(wish, env, job.tell)
            job.tell(99, "Cloned.")
            if install:
                job.setup_session = await self._install(wish.target)
            job.percent, job.message, job.state = 100, "Cloned.", "done"
        except SessionError as error:
            job.message, job.state = f"{error.message} {error.hint}".strip(), "failed"
        except asyncio.CancelledError:
            job.message, job.state = "Cancelled; nothing was cloned.", "cancelled"
        except Exception:
            log.exception("Clone %s", wish.id)
            job.message, job.state = "The server made a mistake; its log says which.", "failed"

    async def _install(self, target: Path) -> str | None:
        """Begin the installation; its session's id. That it cannot begin is no failure of the clone."""
        found = [name for name in clone_setup.FILES if (target / name).is_file()]
        script = clone_setup.script(found)
        if script is None or self._manager is None:
            return None
        taken = self._manager.terminals
        name = next(
            n for n in (clone_setup.SESSION, *(f"{clone_setup.SESSION}-{i}" for i in range(2, 1000)))
            if n not in taken
        )  # fmt: skip
        try:
            session = await self._manager.create_session(
                name=name, cwd=str(target), argv=["/bin/sh", "-c", script]
            )
        except SessionError as error:
            log.warning("The session %s did not start: %s", name, error.message)
            return None
        return session.id


class CloneListHandler(HubOrOwnerHandler):
    """Begin."""

    action = "clone"

    @allow_unauthenticated
    async def post(self) -> None:
        """Begin a clone, or find it."""
        await self.let_in()
        await check_quota(self.settings.get("terminal_manager"))
        self.reply(_clones(self).begin(self.read(Clone)).model(), 202)


class CloneItemHandler(HubOrOwnerHandler):
    """One clone."""

    action = "clone"

    @allow_unauthenticated
    async def get(self, identity: str) -> None:
        """How far it is."""
        await self.let_in()
        self.reply(_clones(self).find(identity).model())

    @allow_unauthenticated
    async def delete(self, identity: str) -> None:
        """Call it off; nothing is left of it when this is answered."""
        await self.let_in()
        job = _clones(self).find(identity)
        if job.task is not None and job.state == "running":
            job.task.cancel()
            await asyncio.wait([job.task])
        self.reply(job.model())


def _clones(handler: HubOrOwnerHandler) -> Clones:
    clones: Clones = handler.settings[SETTING]
    return clones


def set_up(settings: dict[str, Any]) -> None:
    """Called while the server loads: remove what a killed one left half-cloned."""
    home = Path(str(settings.get("server_root_dir") or Path.home())).expanduser().resolve()
    manager = settings.get("terminal_manager")
    settings[SETTING] = Clones(home, manager if isinstance(manager, PersistentTerminalManager) else None)
    clean(home)


def handlers(base_url: str) -> list[tuple[str, type[HubOrOwnerHandler]]]:
    """Routes under the server's base URL."""
    root = url_path_join(base_url, "/persistent-terminals/api/clone")
    return [(root, CloneListHandler), (root + r"/([0-9a-f]{8,64})", CloneItemHandler)]
