"""JupyterHub's single-user server that starts and serves while the hub is away.

Run as `python -m persistent_terminal_hub.server.singleuser`. The stock one exits when its check of the hub's
version fails; a workspace must come back without a hub, so here it warns and goes on in the background.
"""

from __future__ import annotations

import asyncio
import os
from typing import Any

from .lean_start import leave_out, no_yarn

leave_out()

from jupyterhub._version import __version__, _check_version  # noqa: E402
from jupyterhub.httpclient import fetch  # noqa: E402
from jupyterhub.singleuser.extension import JupyterHubSingleUser  # noqa: E402

from .auth import PatientIdentityProvider  # noqa: E402
from .lock import SETTING  # noqa: E402

_EXTENSION = "persistent_terminal_hub.server"
_MODULE = "persistent_terminal_hub.server.singleuser"
#: Seconds between attempts to reach the hub: doubled from the first to the last.
_FIRST_WAIT, _LAST_WAIT = 2.0, 60.0


class PersistentSingleUser(JupyterHubSingleUser):
    """The single-user server with a hub check that never ends it."""

    _hub_check: asyncio.Task[None] | None = None

    @classmethod
    def get_extension_package(cls) -> str:
        """Where Jupyter Server finds this class again: this module, not the whole package."""
        return _MODULE

    @classmethod
    def make_serverapp(cls, **kwargs: Any) -> Any:
        """Called first: our extension is part of this server, whatever files enable extensions."""
        no_yarn()
        serverapp = super().make_serverapp(**kwargs)
        serverapp.jpserver_extensions[_EXTENSION] = True
        return serverapp

    def load_config_file(self) -> None:
        """Called once while starting: JupyterHub's configuration, with our check of who somebody is."""
        super().load_config_file()
        self.config.ServerApp.identity_provider_class = PatientIdentityProvider
        self.serverapp.update_config(self.config)

    def initialize(self, args: Any = None) -> None:
        """Called once while starting, after the configuration; other extensions may come later."""
        super().initialize(args)
        self.serverapp.io_loop.add_callback(self._check_lock)

    def _check_lock(self) -> None:
        """A workspace that could not be locked is not served. Runs before the first request is read."""
        if os.environ.get("PTH_WORKSPACE_ID") and SETTING not in self.serverapp.web_app.settings:
            self.log.critical(
                "The server extension persistent_terminal_hub.server is not enabled, so nobody could lock "
                "this workspace; the server ends. Look for it in ~/.jupyter and enable it again."
            )
            raise SystemExit(1)

    async def check_hub_version(self) -> None:
        """Called once while starting: begin the check, do not wait for it."""
        self._hub_check = asyncio.ensure_future(self._check_until_reached())

    async def _check_until_reached(self) -> None:
        wait = _FIRST_WAIT
        while True:
            try:
                response = await fetch(self.hub_auth.api_url, **self.hub_http_client_opts)
            except Exception as error:  # whatever keeps us from the hub, the workspace serves
                self.log.warning(
                    "The hub does not answer at %s (%s). The workspace serves without it; next try in %d s.",
                    self.hub_auth.api_url,
                    error,
                    wait,
                )
                await asyncio.sleep(wait)
                wait = min(wait * 2, _LAST_WAIT)
            else:
                _check_version(response.headers.get("X-JupyterHub-Version"), __version__, self.log)
                return

    async def stop_extension(self) -> None:
        """Stop what runs in the background."""
        if self._hub_check is not None:
            self._hub_check.cancel()
        await super().stop_extension()


def _jupyter_server_extension_points() -> list[dict[str, Any]]:
    """Tell Jupyter Server which application this module is."""
    return [{"module": _MODULE, "app": PersistentSingleUser}]


def main() -> None:
    """Start the server."""
    PersistentSingleUser.launch_instance()


if __name__ == "__main__":
    # The class must be the one that Jupyter Server imports, not a second one in __main__.
    from persistent_terminal_hub.server.singleuser import main as imported_main

    imported_main()
