"""Our own pages below /hub, whoever authenticates: one list, which both authenticators return."""

from __future__ import annotations

from typing import Any

from jupyterhub.auth import Authenticator
from traitlets import Instance

from persistent_terminal_hub.audit import Outbox
from persistent_terminal_hub.hub import jwks, lock_routes
from persistent_terminal_hub.hub.data_dir import DataDir
from persistent_terminal_hub.hub.home_actions import HomeParts
from persistent_terminal_hub.hub.home_gather import HomeGather
from persistent_terminal_hub.hub.home_pages import home_handlers
from persistent_terminal_hub.hub.honest_stop import stop_handlers
from persistent_terminal_hub.hub.lock_push import LockSender
from persistent_terminal_hub.hub.making import Makings
from persistent_terminal_hub.hub.request_records import RecordedLogout
from persistent_terminal_hub.hub.service_routes import service_handlers
from persistent_terminal_hub.hub.unlock import HubTokens
from persistent_terminal_hub.settings import Settings
from persistent_terminal_hub.signing_keys import DAY, KeyStore

#: As tornado takes it: pattern, class, and perhaps the keyword arguments of its `initialize`.
Route = tuple[Any, ...]


def key_store(settings: Settings, data: DataDir) -> KeyStore:
    """The keys that sign the hub's tokens."""
    return KeyStore(data.keys, max_age=settings.auth.signing_key_days * DAY)


def extra_handlers(settings: Settings, data: DataDir) -> list[Route]:
    """Routes below /hub that do not depend on how people log in."""
    keys, outbox = key_store(settings, data), Outbox(data.audit)
    tokens = HubTokens(keys, data.hub_id())
    sender = LockSender(tokens)
    home = HomeParts(settings, HomeGather(tokens), sender, outbox, Makings(settings))
    return [
        (jwks.ROUTE, jwks.JwksHandler, {"keys": keys}),
        (lock_routes.ROUTE, lock_routes.LockHandler, {"sender": sender, "outbox": outbox}),
        # Comes after the authenticator's own, if it brings one.
        (r"/logout", RecordedLogout),
        *service_handlers(),
        *stop_handlers(),
        *home_handlers(home),
    ]


class OwnHandlers(Authenticator):
    """Mixin of an authenticator whose `get_handlers` adds `own_handlers()`."""

    pth_settings = Instance(Settings, (), help="The settings of the hub.").tag(config=True)

    @property
    def data(self) -> DataDir:
        """The hub's data directory."""
        return DataDir(self.pth_settings.data_dir)

    def own_handlers(self) -> list[Route]:
        """`extra_handlers` of this hub."""
        return extra_handlers(self.pth_settings, self.data)
