"""The public keys of the hub: `/hub/persistent-terminals/jwks.json`, for everybody."""

from __future__ import annotations

import logging

from tornado import web

from persistent_terminal_hub import tokens
from persistent_terminal_hub.signing_keys import KeyStore, KeyStoreError

log = logging.getLogger("persistent_terminal_hub")

#: Seconds that an answer may be kept: well below the time for which a key is published before it signs.
CACHE_SECONDS = 60

ROUTE = r"/persistent-terminals/jwks\.json"


class JwksHandler(web.RequestHandler):
    """No cookie is read and no user looked up: the keys are public, and workspaces ask often."""

    def initialize(self, keys: KeyStore) -> None:
        """`keys`: the hub's store."""
        self._keys = keys

    def get(self) -> None:
        """The document, as RFC 7517 has it."""
        try:
            document = tokens.jwks(self._keys.public())
        except KeyStoreError as error:
            log.error("%s", error)
            self.set_status(503)
            self.set_header("Cache-Control", "no-store")
            self.finish(
                {
                    "status": 503,
                    "reason": "Service Unavailable",
                    "message": "The hub cannot read its signing keys.",
                    "hint": "Its log says why.",
                }
            )
            return
        self.set_header("Cache-Control", f"public, max-age={CACHE_SECONDS}")
        self.set_header("Content-Type", "application/json")
        self.finish(document)
