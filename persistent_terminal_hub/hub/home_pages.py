"""The home page: `/hub/home`, what it asks for every few seconds, and what its buttons send.

It works without scripts: the page holds all that is known, and each button is a form. The script only asks
for the same cards again (`GET persistent-terminals/api/home`), and sends the forms without leaving the page.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any, Final

from jupyterhub.apihandlers.base import APIHandler
from jupyterhub.handlers.base import BaseHandler
from jupyterhub.slugs import is_valid_safe_slug
from jupyterhub.user import User
from tornado.web import HTTPError, authenticated

from persistent_terminal_hub.config.rules import rules_in_workspace
from persistent_terminal_hub.hub.home_actions import HomeActions, HomeParts, Outcome
from persistent_terminal_hub.hub.home_words import SHOWN, Card, Known, Phase, card
from persistent_terminal_hub.hub.honest_stop import HonestStop
from persistent_terminal_hub.hub.new_workspace import Form
from persistent_terminal_hub.shared_files import share_dir

#: How long the page waits for workspaces, in seconds; the script fills in those that answer later.
PAGE_PATIENCE: Final = 0.4
#: How long the script's question waits.
API_PATIENCE: Final = 2.5
#: What the page loads from us, by its name below persistent-terminals/static/.
FILES: Final = {"home.js": "text/javascript", "pages.css": "text/css", "spawn-pending.js": "text/javascript"}


class HomeBase(HonestStop, BaseHandler):
    """What page and API share."""

    def initialize(self, parts: HomeParts) -> None:
        """`parts`: the hub's."""
        self._parts = parts

    def sees_inside(self, user: User) -> bool:
        """Whether who asks is told what runs in them: a token that may not open them all is not."""
        return bool(self.has_scope(f"access:servers!user={user.name}"))

    async def cards(self, user: User, patience: float) -> list[Card]:
        """Of all of a person's workspaces; the default one first."""
        settings = self._parts.settings
        actions = HomeActions(self, self._parts)
        makings = await self._parts.makings.of(user.name)
        known = {each.name: each for each in self._known(user)}
        for name, making in makings.items():
            found = known.get(name) or Known(name, making.title, "new", user.server_url(name))
            failed = {"message": making.failed, "failed": True} if making.failed else {"making": making.words}
            known[name] = replace(found, **failed)
        running = [each.name for each in known.values() if each.phase == "running" and not each.making]
        if not self.sees_inside(user):
            running = []
        told = await self._parts.gather.ask([actions.target(name) for name in running], patience)
        groups = [group.name for group in user.groups]
        shown = []
        for each in sorted(known.values(), key=lambda each: each.name):
            answer, asked = told.get(each.name, (None, True))
            rules = rules_in_workspace(settings, user.name, groups, each.name)
            shown.append(card(each, answer, rules, datetime.now(UTC).timestamp(), asked=asked))
        return shown

    def _known(self, user: User) -> list[Known]:
        spawners = {"": user.spawner} | {each.name: each for each in user.all_spawners()}
        return [_known(user, name, spawner) for name, spawner in spawners.items()]

    async def fragment(self, cards: list[Card]) -> str:
        """The cards as they stand on the page."""
        return str(await self.render_template("home-cards.html", **self.of_cards(cards)))

    def of_cards(self, cards: list[Card]) -> dict[str, Any]:
        """What the template of the cards takes."""
        return {"cards": cards, "shown": SHOWN, "taken": sorted(self.current_user.orm_user.orm_spawners)}


class HomePage(HomeBase):
    """`/hub/home`."""

    @authenticated
    async def get(self) -> None:
        """The page."""
        user = self.current_user
        if user.running:
            # A server that died is noticed at once.
            await user.spawner.poll_and_notify()
        await self._render()

    @authenticated
    async def post(self) -> None:
        """A button."""
        fields = {name: self.get_body_argument(name, "") for name in self.request.body_arguments}
        outcome = await HomeActions(self, self._parts).do(fields.pop("action", ""), fields)
        if "application/json" in self.request.headers.get("Accept", ""):
            self.set_status(outcome.status)
            errors = dict(outcome.form.errors) if outcome.form else {}
            next_ = self.hub.base_url + outcome.next if outcome.next else ""
            self.set_header("Content-Type", "application/json")
            self.finish(json.dumps({"message": outcome.message, "errors": errors, "next": next_}))
        elif outcome.status < 400:
            self.redirect(self.hub.base_url + (outcome.next or "home"), status=303)
        else:
            self.set_status(outcome.status)
            await self._render(outcome)

    async def _render(self, outcome: Outcome | None = None) -> None:
        user = self.current_user
        actions = HomeActions(self, self._parts)
        cards = await self.cards(user, PAGE_PATIENCE)
        self.set_header("Cache-Control", "no-store")
        self.finish(
            await self.render_template(
                "home.html",
                user=user,
                auth_state=await user.get_auth_state(),
                **self.of_cards(cards),
                choices=actions.choices(),
                form=outcome.form if outcome and outcome.form else Form(),
                problem=outcome.message if outcome else "",
                allow_named_servers=self.allow_named_servers,
                named_server_limit_per_user=await self.get_current_user_named_server_limit(),
                invalid_server_names=[
                    name for name in user.orm_user.orm_spawners if name and not is_valid_safe_slug(name)
                ],
            )
        )


class HomeApi(HomeBase, APIHandler):
    """`GET persistent-terminals/api/home`: the own workspaces, as words. As an API it also takes tokens, and
    asks for the XSRF token with a cookie."""

    async def get(self) -> None:
        """JSON; with `Accept: text/html` the cards of the page."""
        user = self.current_user
        if not user:
            raise HTTPError(403, "Log in first.")
        if not isinstance(user, User) or not self.has_scope(f"access:servers!user={user.name}"):
            raise HTTPError(403, "This is for people, about their own workspaces: it needs access:servers.")
        cards = await self.cards(user, API_PATIENCE)
        self.set_header("Cache-Control", "no-store")
        if "text/html" in self.request.headers.get("Accept", ""):
            self.set_header("Content-Type", "text/html; charset=utf-8")
            self.finish(await self.fragment(cards))
            return
        self.set_header("Content-Type", "application/json")
        self.finish(json.dumps({"workspaces": [_model(each) for each in cards]}))

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """A sentence as JSON: nobody reads a page here."""
        error = kwargs.get("exc_info", (None, None))[1]
        text = error.log_message if isinstance(error, HTTPError) else ""
        self.set_header("Content-Type", "application/json")
        self.finish(json.dumps({"status": status_code, "message": text or "The hub made a mistake."}))


class WorkspacesApi(HomeApi):
    """`GET persistent-terminals/api/workspaces`: what a workspace may show its owner of the others.

    It takes the token of any of the person's servers, which opens no other one, and tells names and states;
    of a locked workspace no session.
    """

    def sees_inside(self, user: User) -> bool:
        """Names and states, no more: see `_brief`."""
        return True

    async def get(self) -> None:
        """JSON."""
        user = self.current_user
        if not isinstance(user, User) or not self.parsed_scopes.get("access:servers"):
            raise HTTPError(403, "This needs the token of a server, or access:servers.")
        cards = await self.cards(user, API_PATIENCE)
        self.set_header("Cache-Control", "no-store")
        self.set_header("Content-Type", "application/json")
        self.finish(json.dumps({"workspaces": [_brief(each) for each in cards]}))


class StaticFile(BaseHandler):
    """A script or style sheet of our pages; for everybody."""

    def initialize(self, contents: Mapping[str, str]) -> None:
        """`contents`: by name."""
        self._contents = contents

    def get(self, name: str) -> None:
        """It; asked for again, mostly 304."""
        self.set_header("Content-Type", f"{FILES[name]}; charset=utf-8")
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Cache-Control", "no-cache")
        self.finish(self._contents[name])


def home_handlers(parts: HomeParts) -> list[tuple[Any, ...]]:
    """Called by `get_handlers` at the hub's start; `/home` comes before JupyterHub's own."""
    contents = {name: (share_dir() / "static" / name).read_text() for name in FILES}
    names = "|".join(name.replace(".", r"\.") for name in FILES)
    return [
        (r"/home", HomePage, {"parts": parts}),
        (r"/persistent-terminals/api/home", HomeApi, {"parts": parts}),
        (r"/persistent-terminals/api/workspaces", WorkspacesApi, {"parts": parts}),
        (rf"/persistent-terminals/static/({names})", StaticFile, {"contents": contents}),
    ]


def _known(user: User, name: str, spawner: Any) -> Known:
    """`spawner`: JupyterHub's, or, of one that does not run, its row."""
    active = bool(getattr(spawner, "active", False))
    pending = getattr(spawner, "pending", None) or ""
    last = spawner.orm_spawner.last_activity if hasattr(spawner, "orm_spawner") else spawner.last_activity
    phase: Phase = "stopped" if last else "new"
    if pending == "spawn":
        phase = "starting"
    elif pending == "stop":
        phase = "stopping"
    elif active:
        phase = "running"
    message, failed = "", False
    if phase == "starting":
        progress = getattr(spawner, "_progress", None)
        message = progress.texts[-1] if progress is not None and progress.texts else ""
    elif error := (None if active else getattr(spawner, "_failed", None)):
        failed = True
        message = getattr(error, "jupyterhub_message", "") or _no_reason(error)
    idle = (datetime.now(UTC).replace(tzinfo=None) - last).total_seconds() if last else None
    return Known(
        name=name,
        display_name=str(spawner.display_name or ""),
        phase=phase,
        url=user.server_url(name),
        answering=getattr(spawner, "answering", True) is not False,
        idle=max(0.0, idle) if idle is not None else None,
        message=message,
        failed=failed,
    )


def _no_reason(error: BaseException) -> str:
    if isinstance(error, asyncio.CancelledError):
        return "It was stopped while it started. Your files are safe."
    return (
        "It did not get ready in time, or ended while it started. Your files are safe. If it happens again, "
        "tell an administrator: the hub's log says more."
    )


def _model(each: Card) -> dict[str, Any]:
    model = asdict(each)
    model["actions"] = sorted(each.actions)
    model["expiry"] = each.expiry.text if each.expiry else ""
    return model


def _brief(each: Card) -> dict[str, Any]:
    return {
        "name": each.name,
        "title": each.title,
        "url": each.url,
        "state": each.state,
        "badge": each.badge,
        "summary": each.summary,
        "sessions": [asdict(session) for session in each.sessions],
    }
