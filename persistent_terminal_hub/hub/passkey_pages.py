"""/hub/passkeys: a user's own passkeys. Adding and removing them needs a proof of its own.

Otherwise a person at an unattended browser could enrol a passkey, and unlock with it for ever.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Any

from jupyterhub.utils import url_path_join
from tornado import web
from webauthn import generate_registration_options, options_to_json
from webauthn.helpers import base64url_to_bytes, bytes_to_base64url
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from persistent_terminal_hub.hub import passkey_failures as failures
from persistent_terminal_hub.hub.one_time import new_id
from persistent_terminal_hub.hub.passkey_method import DIALOG_MS, Passkeys, Registration, descriptors
from persistent_terminal_hub.hub.passkey_proofs import Expected, judge_registration
from persistent_terminal_hub.hub.passkey_rules import MAX_PASSKEYS, Needed, Site, clean_name, needed_to_change
from persistent_terminal_hub.hub.passkey_store import Passkey, PasskeyStoreError
from persistent_terminal_hub.hub.reauth import NOT_ALLOWED, session_of, still_allowed
from persistent_terminal_hub.hub.reauth_methods import Challenge
from persistent_terminal_hub.hub.reauth_pages import TOO_OLD, ReauthHandler

#: What the page says after a change; the word stands in the URL.
DONE = {
    "added": "The passkey was added. You can unlock your workspaces with it.",
    "removed": "The passkey was removed: it opens nothing here any more. Delete it on the device, too.",
    "proven": "You proved that it is you: within five minutes you can add or remove one passkey.",
}


class PasskeysGoal:
    """A proof at /hub/reauth for a change of passkeys, instead of for a workspace."""

    #: No workspace is called like this.
    name = ":passkeys"
    heading = "Prove that it is you"
    text = "Before your passkeys are changed, prove that you are"

    async def reached(self, handler: ReauthHandler, challenge: Challenge) -> None:
        """Back to the passkeys, where one change is allowed now."""
        passkeys: Passkeys = handler.authenticator.passkeys
        passkeys.proofs.note((challenge.user, challenge.session), time.monotonic())
        handler.redirect(url_path_join(handler.hub.base_url, "passkeys") + "?done=proven", status=303)


class PasskeysPage(ReauthHandler):
    """List, add, remove."""

    @property
    def passkeys(self) -> Passkeys:
        """The hub's one."""
        passkeys: Passkeys = self.authenticator.passkeys
        return passkeys

    @web.authenticated
    async def get(self) -> None:
        """The list."""
        await self._show(done=DONE.get(self.get_query_argument("done", ""), ""))

    @web.authenticated
    async def post(self) -> None:
        """One change: `action` is `add` or `remove`."""
        action = self.get_body_argument("action", "")
        if action not in ("add", "remove"):
            raise web.HTTPError(400, "This form is not understood. Open the page again.")
        if sentence := self.reauth.limits.sentence(self.current_user.name, self.origin):
            await self._show(429, sentence)
            return
        if not await still_allowed(self):
            await self._refuse(action, "not_allowed", NOT_ALLOWED)
            return
        try:
            await (self._add() if action == "add" else self._remove())
        except PasskeyStoreError as error:
            self.log.error("%s", error)
            await self._refuse(action, "unavailable", failures.AWAY, status=503)

    async def _add(self) -> None:
        user = self.current_user.name
        asked = self.passkeys.registrations.take(
            user, self.get_body_argument("registration", ""), time.monotonic()
        )
        if asked is None or asked.session != session_of(self):
            await self._show(409, TOO_OLD)
            return
        mine = self.passkeys.store.of(user)
        if await self._is_refused("add", mine):
            return
        if len(mine) >= MAX_PASSKEYS:
            await self._refuse("add", "too_many", failures.TOO_MANY, status=409)
            return
        expected = Expected(base64url_to_bytes(asked.id), asked.site, self.passkeys.handle(user))
        made = judge_registration(self.get_body_argument("credential", ""), expected)
        if made.reason != "ok":
            self.reauth.limits.failed(user, self.origin)
            await self._refuse("add", made.reason, failures.not_made(made.reason))
            return
        name = clean_name(self.get_body_argument("name", ""), {item.name for item in mine})
        passkey = Passkey(
            made.id, user, asked.site.rp_id, made.public_key, made.sign_count, name, time.time(),
            transports=made.transports,
        )  # fmt: skip
        if not self.passkeys.store.add(passkey):
            await self._refuse("add", "enrolled", failures.not_made("enrolled"), status=409)
            return
        await self._changed("add", name)

    async def _remove(self) -> None:
        user = self.current_user.name
        if await self._is_refused("remove", self.passkeys.store.of(user)):
            return
        try:
            id_ = base64url_to_bytes(self.get_body_argument("id", ""))
        except ValueError:
            id_ = b""
        removed = self.passkeys.store.remove(user, id_)
        if removed is None:
            await self._show(404, failures.NOT_THERE)
            return
        await self._changed("remove", removed.name)

    async def _is_refused(self, action: str, mine: list[Passkey]) -> bool:
        """True when the proof is missing; the request has been finished then."""
        needed = await self._needed(action, mine)
        if needed == "nothing":
            return False
        sentence = failures.PROVE_FIRST if needed == "proof" else failures.LOG_IN_FIRST
        await self._refuse(action, "no_" + needed, sentence)
        return True

    async def _needed(self, action: str, mine: list[Passkey]) -> Needed:
        user, now = self.current_user, time.monotonic()
        return needed_to_change(
            adding=action == "add",
            proven=self.passkeys.proofs.since((user.name, session_of(self)), now) is not None,
            provider_proves=await self.authenticator.provider_proves(user),
            enrolled=len(mine),
            since_login=self.passkeys.logins.since((user.name, self.get_session_cookie()), now),
        )

    async def _changed(self, action: str, name: str) -> None:
        user = self.current_user.name
        self.passkeys.proofs.take((user, session_of(self)), time.monotonic())
        self.reauth.limits.succeeded(user, self.origin)
        self.log.info("%s: passkey %s", user, "added" if action == "add" else "removed")
        await self._record(action, result="ok", name=name)
        word = "added" if action == "add" else "removed"
        self.redirect(url_path_join(self.hub.base_url, "passkeys") + f"?done={word}", status=303)

    async def _refuse(self, action: str, reason: str, sentence: str, *, status: int = 403) -> None:
        self.log.warning("%s: no passkey changed: %s (%s)", self.current_user.name, reason, action)
        await self._record(action, result="refused", reason=reason)
        await self._show(status, sentence)

    async def _record(self, action: str, **how: str) -> None:
        await asyncio.to_thread(
            self.reauth.outbox.record,
            who=self.current_user.name,
            what=f"passkey.{action}",
            on=self.current_user.name,
            origin=self.origin,
            **how,
        )

    async def _show(self, status: int = 200, problem: str = "", done: str = "") -> None:
        user = self.current_user
        site = self.passkeys.site(self.request)
        try:
            mine = self.passkeys.store.of(user.name)
        except PasskeyStoreError as error:
            self.log.error("%s", error)
            raise web.HTTPError(503, failures.AWAY) from None
        adding = await self._needed("add", mine)
        full = len(mine) >= MAX_PASSKEYS
        registration, options = "", ""
        if site is not None and adding == "nothing" and not full:
            registration, options = self._options(site, mine)
        self.set_status(status)
        self.finish(
            await self.render_template(
                "passkeys.html",
                problem=problem,
                done=done,
                passkeys=[_row(item) for item in mine],
                removing=await self._needed("remove", mine),
                adding=adding,
                full=full,
                site=site,
                registration=registration,
                options=options,
                prove_url=self.page_url(PasskeysGoal.name, ""),
            )
        )

    def _options(self, site: Site, mine: list[Passkey]) -> tuple[str, str]:
        """A new registration's id, and what the browser is asked for."""
        user = self.current_user.name
        asked = Registration(new_id(), user, session_of(self), site)
        self.passkeys.registrations.put(user, asked.id, asked, time.monotonic())
        options = generate_registration_options(
            rp_id=site.rp_id,
            rp_name="Persistent Terminal Hub",
            user_id=self.passkeys.handle(user),
            user_name=user,
            challenge=base64url_to_bytes(asked.id),
            timeout=DIALOG_MS,
            exclude_credentials=descriptors(mine),
            authenticator_selection=AuthenticatorSelectionCriteria(
                resident_key=ResidentKeyRequirement.PREFERRED,
                user_verification=UserVerificationRequirement.REQUIRED,
            ),
        )
        return asked.id, options_to_json(options)


class PasskeyScript(web.RequestHandler):
    """The script of both pages: a file of its own, so that no page needs an inline one."""

    def initialize(self, script: str) -> None:
        """`script`: its text."""
        self._script = script

    def get(self) -> None:
        """The same for everybody."""
        self.set_header("Content-Type", "text/javascript; charset=utf-8")
        self.set_header("Cache-Control", "no-cache")
        self.set_header("X-Content-Type-Options", "nosniff")
        self.finish(self._script)


def _row(item: Passkey) -> dict[str, Any]:
    def day(moment: float) -> str:
        return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d")

    return {
        "id": bytes_to_base64url(item.id),
        "name": item.name,
        "rp_id": item.rp_id,
        "created": day(item.created),
        "last_used": day(item.last_used) if item.last_used is not None else "",
    }
