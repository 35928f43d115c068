"""REST resources of the rules: facts, warnings, presence, and what an owner may ask for a session.

Two kinds of callers. The owner, as Jupyter knows them (cookie and XSRF token, or an API token). And the hub
and its culler, by a signed `steer` token that names the actions it allows; those are served while the
workspace is locked, too.
"""

from __future__ import annotations

import time
from typing import Annotated, ClassVar

from jupyter_server.auth.decorator import allow_unauthenticated
from jupyter_server.auth.utils import warn_disabled_authorization
from jupyter_server.base.handlers import APIHandler
from jupyter_server.utils import ensure_async, url_path_join
from pydantic import Field

from persistent_terminal_hub import rules_file
from persistent_terminal_hub.bodies import Body
from persistent_terminal_hub.keeper.channel import KeeperError

from . import api
from .errors import SessionError, refusal
from .lock import SETTING as GATE
from .lock import Gate
from .presence import SETTING as PRESENCE
from .presence import Presence, is_owner
from .rules_clock import SETTING, WorkspaceClock
from .rules_facts import EXTENDED, facts_of_model
from .rules_wishes import MOST, keep_alive_seconds, room_to_extend
from .steering import is_steered
from .unlock_request import CODE as UNLOCK_REQUEST

Code = Annotated[str, Field(pattern=r"^[a-z_]{1,40}$")]
Seconds = Annotated[float, Field(ge=0, le=MOST)]


class Announcement(Body):
    """The body of a POST to `warn`."""

    code: Code
    seconds: Seconds
    session: str | None = Field(None, max_length=128)
    reason: str = Field("", max_length=500)


class Extend(Body):
    """The body of a POST to `extend`."""

    seconds: float = Field(gt=0, le=MOST)


class KeepAlive(Body):
    """The body of a POST to `keep-alive`: without `pid` what runs in the foreground; null ends it."""

    pid: int | None = Field(-1, ge=-1, le=2**31 - 1)
    seconds: Seconds | None = None


class Nothing(Body):
    """The body of a POST that says nothing."""


class RulesHandler(api.SessionsHandler):
    """What all resources here share: who may ask."""

    #: What a steer token must name; empty: only the owner may ask.
    steer_action: ClassVar[str] = ""
    for_owner: ClassVar[bool] = True
    steered = False

    @property
    def clock(self) -> WorkspaceClock:
        """The workspace's clock."""
        clock: WorkspaceClock = self.settings[SETTING]
        return clock

    async def prepare(self) -> None:  # type: ignore[override]
        """Find out who asks, and wait for the keeper."""
        self.steered = bool(self.steer_action) and await is_steered(self, self.steer_action)
        if not self.steered:
            await APIHandler.prepare(self)
            if self._finished:
                return
            await self._check_owner()
        try:
            await self.clock.link.ready()
        except OSError as error:
            raise refusal(error) from error

    async def _check_owner(self) -> None:
        user = self.current_user
        if not user:
            raise SessionError(403, "Sign in to use this workspace.")
        if not self.for_owner:
            raise SessionError(403, "Only the hub of this workspace may ask for that.")
        if not is_owner(user):
            raise SessionError(403, "Only the owner of this workspace may ask for that.")
        if self.authorizer is None:
            warn_disabled_authorization()
        elif not await ensure_async(self.authorizer.is_authorized(self, user, "execute", self.auth_resource)):
            raise SessionError(403, "You may not use the terminals of this server.")


class Facts(RulesHandler):
    """What the rules are asked about."""

    while_locked = "steer"
    steer_action = "facts"

    @allow_unauthenticated
    async def get(self) -> None:
        """The facts; with `since`, only the events after that number."""
        try:
            since = int(self.get_query_argument("since", "0"))
            facts = await self.clock.facts()
        except ValueError:
            raise SessionError(422, "`since` is the number of an event.") from None
        except (KeeperError, OSError) as error:
            raise refusal(error) from error
        self.set_header("Cache-Control", "no-store")
        gate: Gate = self.settings[GATE]
        asked = gate.state.asked if gate.state is not None else ""
        self.reply({**self.clock.model_of(facts, since), "unlock_asked": asked or None})


class Warn(RulesHandler):
    """The culler announces a stop, or an end."""

    while_locked = "steer"
    steer_action = "warn"
    for_owner = False

    @allow_unauthenticated
    async def post(self) -> None:
        """Note it and show it."""
        body: Announcement = self.body(Announcement)
        session = None if body.session is None else self.sessions.find(body.session).id
        if body.code == UNLOCK_REQUEST:
            await self._ask_to_unlock(body.reason or "An administrator asks you to log in again.")
            return
        reason = body.reason or "This ends soon."
        try:
            await self.clock.warn(body.code, body.seconds, session, reason)
        except (KeeperError, OSError) as error:
            raise refusal(error) from error
        self.reply({"warned": True})

    async def _ask_to_unlock(self, text: str) -> None:
        gate: Gate = self.settings[GATE]
        if gate.keeper is None or gate.is_open:
            raise SessionError(409, "The workspace is open: there is nothing to unlock.")
        try:
            gate.changed(await gate.keeper.ask(text))
        except OSError as error:
            raise refusal(error) from error
        self.clock.note("unlock_asked", reason=text)
        self.reply({"warned": True})


class RulesResource(RulesHandler):
    """The rules that hold here."""

    while_locked = "steer"
    steer_action = "rules"
    for_owner = False

    @allow_unauthenticated
    async def put(self) -> None:
        """Other rules from now on."""
        if len(self.request.body) > api.MAX_BODY:
            raise SessionError(413, f"The body is larger than {api.MAX_BODY} bytes.")
        try:
            rules = rules_file.rules_of(self.get_json_body())
        except rules_file.BadRules as error:
            raise SessionError(422, str(error)) from error
        try:
            self.clock.set_rules(rules)
        except OSError:
            self.log.error("The rules hold, but cannot be kept for a restart of this server.")
        self.reply({"rulesHash": rules_file.rules_hash(rules)})


class PresenceRoute(RulesHandler):
    """The beacon of a page: somebody pressed a key, moved the pointer or touched the screen."""

    @allow_unauthenticated
    async def post(self) -> None:
        """The owner is there."""
        self.body(Nothing)
        presence: Presence = self.settings[PRESENCE]
        presence.touch()
        self.set_status(204)
        self.finish()


class ExtendSession(RulesHandler):
    """More time for a session."""

    while_locked = "steer"
    steer_action = "extend"

    @allow_unauthenticated
    async def post(self, key: str) -> None:
        """Put off the end that absence brings, within the administrator's maximum."""
        body: Extend = self.body(Extend)
        session = self.sessions.find(key)
        rules, link = self.clock.rules, self.clock.link
        try:
            model = (await link.ask("get", session=session.id))["session"]
            facts = facts_of_model(model, time.monotonic())
            if model["exit"] is not None:
                raise SessionError(410, "This session has ended; it cannot be extended.")
            granted = min(body.seconds, room_to_extend(facts, rules))
            if granted <= 0:
                raise SessionError(
                    409,
                    "This session cannot be extended: it has the longest time that the administrator allows.",
                    "Using it renews its time; or ask the administrator for more.",
                )
            await link.annotate(session.id, {EXTENDED: facts.extended + granted})
        except (KeeperError, OSError) as error:
            raise refusal(error) from error
        self.clock.note("extended", session=session.id, seconds=granted)
        self.reply({"granted": granted, "asked": body.seconds, **self.clock.session_model(session.info)})


class KeepSessionAlive(RulesHandler):
    """A process whose life defers the idle stop of the workspace."""

    @allow_unauthenticated
    async def post(self, key: str) -> None:
        """Watch it, or nothing."""
        body: KeepAlive = self.body(KeepAlive)
        session = self.sessions.find(key)
        try:
            pid = body.pid
            if pid == -1:
                model = (await self.clock.link.ask("get", session=session.id))["session"]
                pid = model["foreground"]
                if pid is None or pid == model["pid"]:
                    raise SessionError(
                        409, "Nothing but the shell runs in the foreground of this session.",
                        "Name the process: {\"pid\": 1234}.",
                    )  # fmt: skip
            seconds = keep_alive_seconds(self.clock.rules, body.seconds)
        except (KeeperError, OSError) as error:
            raise refusal(error) from error
        watched = await self.clock.watch(session.info, pid, seconds)
        self.reply({"watched": watched, "granted": None if pid is None else seconds})


def handlers(base_url: str) -> list[tuple[str, type[RulesHandler]]]:
    """Routes under the server's base URL."""
    root = url_path_join(base_url, "/persistent-terminals/api/")
    session = root + r"sessions/([^/]+)/"
    return [
        (root + "facts", Facts),
        (root + "warn", Warn),
        (root + "rules", RulesResource),
        (root + "presence", PresenceRoute),
        (session + "extend", ExtendSession),
        (session + "keep-alive", KeepSessionAlive),
    ]
