"""What all of the service's handlers share: who asks, bodies in, answers and errors out."""

from __future__ import annotations

import hashlib
import json
import logging
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from jupyterhub.services.auth import HubOAuthenticated
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel
from tornado.web import HTTPError, RequestHandler

from persistent_terminal_hub.bodies import Body as Body
from persistent_terminal_hub.bodies import sentence
from persistent_terminal_hub.control.errors import ApiError
from persistent_terminal_hub.control.idempotency import HEADER, Answer, Claim
from persistent_terminal_hub.control.rights import Action, Caller, may

if TYPE_CHECKING:
    from persistent_terminal_hub.control.app import Control
from persistent_terminal_hub.sealing import SealingError

log = logging.getLogger(__name__)

M = TypeVar("M", bound=BaseModel)

#: Bytes of a request's body.
MAX_BODY = 1024 * 1024
MAX_QUERY = 4096

_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class Reply(BaseModel):
    """An answer's JSON; names are camelCase on the wire."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


class ApiHandler(HubOAuthenticated, RequestHandler):
    """A resource. Subclasses find `caller` set; an anonymous request got 401 before they are asked."""

    caller: Caller
    #: Bytes that this resource takes.
    max_body = MAX_BODY

    def set_default_headers(self) -> None:
        """Nothing of an API belongs into a frame, a cache or a search engine."""
        for name, value in _HEADERS.items():
            self.set_header(name, value)
        self.clear_header("Server")

    @cached_property
    def origin(self) -> str:
        """Where the request came from, as the proxy says."""
        return self.request.remote_ip or ""

    async def prepare(self) -> None:
        """Find out who asks, before anything else is looked at."""
        if len(self.request.query) > MAX_QUERY:
            raise ApiError(414, f"The query of the address is longer than {MAX_QUERY} characters.")
        model = await self.hub_auth.get_user(self, sync=False)
        if not model:
            raise ApiError(
                401,
                "Nobody is logged in, or the token is not known to the hub (any more).",
                "Programs send a token of the hub: Authorization: token …; browsers log in first.",
            )
        if not self.hub_auth.check_scopes(self.hub_scopes or [], model):
            raise ApiError(403, "This token does not reach the service.", "It needs access:services.")
        self._hub_auth_user_cache = model
        header_token = self.hub_auth.get_token(self, in_cookie=False)
        if not header_token and self.request.method not in ("GET", "HEAD"):
            self._same_origin()
        self.caller = Caller(
            name=str(model.get("name", "")),
            kind=str(model.get("kind", "user")),
            admin=bool(model.get("admin")),
            groups=frozenset(map(str, model.get("groups") or ())),
            scopes=frozenset(map(str, model.get("scopes") or ())),
            origin=self.origin,
            token=header_token or self.hub_auth.get_token(self) or "",
            by_cookie=not header_token,
        )

    def _same_origin(self) -> None:
        """A page of another site must not act with a person's cookie."""
        origin = self.request.headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc != self.request.host:
            raise ApiError(403, "This request was sent by a page of another site; nothing was done.")

    def check_xsrf_cookie(self) -> None:
        """JupyterHub's, which knows when a token made it unnecessary."""
        try:
            super().check_xsrf_cookie()
        except HTTPError:
            raise ApiError(
                403,
                "The request lacks the XSRF token of this browser's cookie; nothing was done.",
                "Reload the page, or send the cookie _xsrf as the header X-XSRFToken.",
            ) from None

    # -- in ------------------------------------------------------------------------------------------------
    def body(self, model: type[M]) -> M:
        """The request's body; an empty one counts as `{}`. Raises ApiError 400, 413, 415 or 422."""
        if len(self.request.body) > self.max_body:
            raise ApiError(413, f"The body is larger than {self.max_body} bytes; nothing was done.")
        kind = self.request.headers.get("Content-Type", "application/json").partition(";")[0].strip().lower()
        if self.request.body and kind != "application/json":
            raise ApiError(415, "The body is not application/json.", "Send JSON with that Content-Type.")
        try:
            value = json.loads(self.request.body or b"{}", parse_constant=_no_constant)
        except (ValueError, RecursionError):
            raise ApiError(400, "The body is not JSON.", "Send a JSON object.") from None
        try:
            # Through text again, because strict mode takes lists for tuples only from JSON.
            return model.model_validate_json(json.dumps(value))
        except ValidationError as error:
            raise ApiError(422, sentence(error), "The OpenAPI document lists the fields.") from None
        except (UnicodeError, RecursionError):
            raise ApiError(422, "The body holds text that cannot be stored.") from None

    def query(self, model: type[M]) -> M:
        """The query's arguments, each given once at most."""
        values: dict[str, str] = {}
        for name, given in self.request.query_arguments.items():
            if name == "_xsrf":
                continue
            if len(given) > 1:
                raise ApiError(422, f"The argument {name[:40]!r} is given twice.")
            try:
                values[name] = given[0].decode()
            except UnicodeDecodeError:
                raise ApiError(422, f"The argument {name[:40]!r} is not UTF-8.") from None
        try:
            return model.model_validate(values, strict=False)
        except ValidationError as error:
            raise ApiError(422, sentence(error), "The OpenAPI document lists the arguments.") from None

    def need(self, action: Action, owner: str, server: str | None, what: str = "workspace") -> None:
        """Refuse with 404 what the caller may not see, with 403 what it may see and not do."""
        if may(self.caller, action, owner, server):
            return
        if not may(self.caller, Action.VIEW, owner, server):
            raise ApiError(404, f"There is no {what} of that name that you may see.")
        raise ApiError(
            403, f"You may not {action.value} this workspace.", "Ask its owner or an administrator."
        )

    # -- once, and written down ------------------------------------------------------------------------
    @property
    def control(self) -> Control:
        """What all handlers work with."""
        control: Control = self.settings["control"]
        return control

    async def once(self, work: Callable[[Claim | None], Awaitable[Answer]]) -> None:
        """Answer a POST with what `work` makes; with an Idempotency-Key, the same answer each time.

        `work` is given the claim, to note in it what it makes and to find what an earlier attempt made.
        """
        key = self.request.headers.get(HEADER)
        if key is None:
            answer = await work(None)
            self.reply(answer.body, answer.status)
            return

        async def sealed(claim: Claim) -> Answer:
            made = await work(claim)
            # Answers may hold tokens and outputs: the database gets neither in the clear.
            return Answer(made.status, control.seal_answer(self.caller.name, plain(made.body)))

        control = self.control
        route = f"{self.request.method} {hashlib.sha256(self.request.path.encode()).hexdigest()}"
        answer = await control.idempotent.once(
            control.blocking, self.caller.name, route, key, self.request.body, sealed
        )
        self.reply(control.open_answer(self.caller.name, answer.body), answer.status)

    async def audit(self, what: str, on: str, result: str = "ok", **fields: object) -> None:
        """Write down what was done; before it is answered."""
        await self.control.record(
            who=self.caller.name, what=what, on=on, origin=self.origin, result=result, **fields
        )

    @asynccontextmanager
    async def audited(self, what: str, on: str, **fields: object) -> AsyncIterator[None]:
        """Write a change down before it is made and when it is: a kill in between leaves the first."""
        await self.audit(what, on, "begun", **fields)
        yield
        await self.audit(what, on, "ok", **fields)

    def on_finish(self) -> None:
        """Refused changes are written down, too."""
        status = self.get_status()
        caller = getattr(self, "caller", None)
        if self.request.method in ("GET", "HEAD", "OPTIONS") or caller is None:
            return
        if status < 400:
            return
        path = self.request.path.removeprefix(self.control.place.prefix)
        refused = self.control.record(
            who=caller.name, what="api.refused", on=path, origin=self.origin,
            method=self.request.method, result="refused", code=status,
        )  # fmt: skip
        self.control.background(refused)

    # -- out -----------------------------------------------------------------------------------------------
    def reply(self, value: Any, status: int = 200) -> None:
        """Send JSON: a `Reply`, a list of them, or plain values."""
        self.set_status(status)
        if isinstance(value, list):
            value = [plain(item) for item in value]
        self.set_header("Content-Type", "application/json")
        self.finish(json.dumps(plain(value)))

    def nothing(self) -> None:
        """204."""
        self.set_status(204)
        self.finish()

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Every refusal has the same four fields; nothing unforeseen is shown, only logged."""
        error = kwargs.get("exc_info", (None, None, None))[1]
        refusal = as_api_error(error, status_code)
        if refusal.retry_after is not None:
            self.set_header("Retry-After", str(int(refusal.retry_after)))
        if refusal.status == 401:
            self.set_header("WWW-Authenticate", "token")
        self.set_status(refusal.status)
        self.set_header("Content-Type", "application/json")
        self.finish(json.dumps(refusal.model()))

    def log_exception(self, kind: Any, value: Any, trace: Any) -> None:
        """Refusals are no news; the rest is logged without the request's arguments."""
        if not isinstance(value, ApiError | HTTPError):
            log.error(
                "%s %s\n%s",
                self.request.method,
                self.request.path,
                "".join(traceback.format_exception(kind, value, trace)),
            )


class NotFound(ApiHandler):
    """Every other address."""

    async def prepare(self) -> None:
        """No need to know who asks."""
        raise ApiError(404, "There is no such resource.", "GET api/openapi.json lists all of them.")


def as_api_error(error: BaseException | None, status: int) -> ApiError:
    """What a client is told of an exception."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, SealingError):
        return ApiError(503, str(error), "Ask an administrator.", retry_after=30)
    if isinstance(error, HTTPError):
        text = error.log_message or ""
        if status == 405:
            return ApiError(405, "This resource does not know that method.")
        return ApiError(status, (text % error.args if error.args else text) or "Refused.")
    return ApiError(500, "The service made a mistake.", "Its log says which; please report it.")


def plain(value: Any) -> Any:
    """As `json.dumps` takes it."""
    return value.model_dump(mode="json", by_alias=True) if isinstance(value, BaseModel) else value


def _no_constant(_text: str) -> Any:
    raise ValueError("NaN and Infinity are no JSON")
