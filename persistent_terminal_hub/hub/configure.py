"""Settings in, JupyterHub's configuration out. `jupyterhub_config.py` calls `configure`."""

from __future__ import annotations

import logging
import os
from importlib import import_module
from typing import Any
from urllib.parse import urlsplit

from persistent_terminal_hub import audit
from persistent_terminal_hub.config.presets import preset_of
from persistent_terminal_hub.hub import backend as backends
from persistent_terminal_hub.hub.addresses import hub_host, public_bind_url
from persistent_terminal_hub.hub.control_service import control_roles, control_service
from persistent_terminal_hub.hub.data_dir import DataDir, DataDirError
from persistent_terminal_hub.hub.oidc_discovery import DiscoveryError, Endpoints, discover
from persistent_terminal_hub.hub.preflight import has_address, nobody_allowed
from persistent_terminal_hub.hub.request_records import recording
from persistent_terminal_hub.hub.scopes import CULL_SCOPE, CUSTOM_SCOPES
from persistent_terminal_hub.hub.subdomains import host_of, hub_origin
from persistent_terminal_hub.hub.user_names import protect_user_names
from persistent_terminal_hub.settings import Settings, SettingsError, load_settings
from persistent_terminal_hub.shared_files import share_dir

log = logging.getLogger("persistent_terminal_hub")


#: The supervisor as the hub knows it.
SUPERVISOR = "supervisor"

#: The culler as the hub knows it, and all that it may do there.
CULLER = "culler"
CULLER_SCOPES = (CULL_SCOPE, "delete:servers")


class ConfigurationError(Exception):
    """The hub cannot start now; the text says why and what to do."""


def configure_from_file(c: Any) -> None:
    """What jupyterhub_config.py does; a problem ends the hub with a sentence."""
    try:
        settings = load_settings()
        take_data_dir(settings)
        configure(c, settings)
    except (ConfigurationError, DataDirError, DiscoveryError, SettingsError) as error:
        # SystemExit, because JupyterHub would print a stack trace for anything else.
        raise SystemExit(f"error: {error}") from None


def configure(c: Any, settings: Settings) -> None:
    """Apply every setting to JupyterHub's configuration object."""
    data = DataDir(settings.data_dir)
    data.prepare()
    audit.use(data.audit)
    choice = backends.resolve(settings, data)
    log.log(logging.WARNING if choice.warning else logging.INFO, "%s", choice.reason)
    protect_user_names()
    _hub(c, settings, data, choice.backend)
    _authenticator(c, settings, data)
    _limits(c, settings)
    if choice.backend == "docker":
        _docker(c, settings, data)
    else:
        _process(c, settings, data)


def take_data_dir(settings: Settings) -> None:
    """Refuse to be the second hub on a data directory.

    `serve` hands its lock down; a hub that was started otherwise takes it itself.
    """
    inherited = os.environ.pop("PTH_LOCK_FD", "")
    if not inherited:
        data = DataDir(settings.data_dir)
        data.prepare()
        data.lock()  # held until this process ends


def workspace_environment(settings: Settings, notice: str) -> dict[str, str]:
    """What the server inside a workspace reads from its environment."""
    return {
        "PTH_SCROLLBACK_BYTES": str(settings.session.scrollback_bytes),
        "PTH_HISTORY_BYTES": str(settings.session.history_bytes),
        "PTH_MAX_SESSIONS": str(settings.session.max_per_workspace),
        "PTH_PTY_COLS": str(settings.pty.cols),
        "PTH_PTY_ROWS": str(settings.pty.rows),
        **({"PTH_WORKSPACE_NOTICE": notice} if notice else {}),
    }


def _hub(c: Any, settings: Settings, data: DataDir, backend: backends.Backend) -> None:
    notice = backends.NOT_ISOLATED if backend == "process" else ""
    c.JupyterHub.bind_url = public_bind_url(settings)
    if settings.server.subdomains:
        c.JupyterHub.subdomain_host = hub_origin(settings)
        c.JupyterHub.subdomain_hook = host_of
    c.JupyterHub.hub_ip = hub_host(settings, backend)
    c.JupyterHub.hub_port = settings.server.hub_port
    c.JupyterHub.db_url = f"sqlite:///{data.database}"
    c.JupyterHub.cookie_secret_file = str(data.cookie_secret)
    c.JupyterHub.log_level = settings.log_level
    c.JupyterHub.template_paths = [str(share_dir() / "templates")]
    # People land on the home page, where all their workspaces are, and start one on purpose.
    c.JupyterHub.redirect_to_server = False
    local = settings.auth.provider == "local"
    c.JupyterHub.template_vars = {
        "pth_notice": notice,
        "pth_local_accounts": local,
        "pth_passkeys": settings.auth.passkeys,
        "pth_control": settings.control.enabled,
        "pth_sign_up": local and settings.auth.sign_up,
    }
    c.JupyterHub.tornado_settings = {"log_function": recording()}
    if settings.server.tls:
        # All cookies, also the XSRF token's; without TLS here (a proxy in front may have it) the hub decides.
        c.JupyterHub.tornado_settings["cookie_options"] = {"secure": True}
    # The hub may die and come back: neither the proxy nor a workspace goes with it.
    c.JupyterHub.cleanup_servers = False
    c.JupyterHub.cleanup_proxy = False
    c.ConfigurableHTTPProxy.should_start = False
    c.ConfigurableHTTPProxy.auth_token = data.proxy_token()
    c.ConfigurableHTTPProxy.api_url = f"http://127.0.0.1:{settings.server.proxy_api_port}"
    # A restarted proxy has no routes: the supervisor asks the hub to give them back (POST /hub/api/proxy).
    c.JupyterHub.services = [
        {"name": SUPERVISOR, "api_token": data.supervisor_token(), "display": False},
        {"name": CULLER, "api_token": data.culler_token(), "display": False},
    ]
    if settings.control.enabled:
        c.JupyterHub.services.append(control_service(settings, data))
    c.JupyterHub.custom_scopes = CUSTOM_SCOPES
    c.JupyterHub.load_roles = [
        *control_roles(settings),
        {"name": SUPERVISOR, "scopes": ["proxy"], "services": [SUPERVISOR]},
        {"name": CULLER, "scopes": list(CULLER_SCOPES), "services": [CULLER]},
    ]
    c.Spawner.environment = workspace_environment(settings, notice)


def _limits(c: Any, settings: Settings) -> None:
    c.JupyterHub.allow_named_servers = True
    c.JupyterHub.named_server_limit_per_user = settings.workspace.max_per_user
    c.JupyterHub.active_server_limit = settings.workspace.max_running
    # More starts at a time only make each slower.
    c.JupyterHub.concurrent_spawn_limit = 2 * (os.cpu_count() or 1) + 4
    c.Spawner.start_timeout = settings.workspace.start_timeout_seconds
    c.Spawner.http_timeout = settings.workspace.start_timeout_seconds


def _docker(c: Any, settings: Settings, data: DataDir) -> None:
    c.JupyterHub.spawner_class = "persistent_terminal_hub.hub.spawner.PersistentTerminalSpawner"
    c.PersistentTerminalSpawner.settings = settings
    c.PersistentTerminalSpawner.hub_id = data.hub_id()
    _hub_network(settings, data)
    if mortal := backends.problem_with_live_restore(settings.docker):
        log.warning("%s", mortal)


def _hub_network(settings: Settings, data: DataDir) -> None:
    """Make the network whose gateway the hub binds to; an engine that is away may have left it behind."""
    # By name, because only a hub that uses containers needs this module.
    networks = import_module("persistent_terminal_hub.hub.networks")
    problem = ""
    try:
        client = backends.docker_client(settings.docker).api
        networks.ensure_hub_network(client, settings, data.hub_id())
    except Exception as error:  # docker-py's, requests' or the spawner's: each says why in its text
        problem = str(error)
    address = hub_host(settings, "docker")
    if has_address(address):
        if problem:
            log.warning("Docker: %s", problem)
        return
    raise ConfigurationError(
        f"The hub's network on the Docker Engine is missing ({problem or address + ' is no address here'}): "
        "start the engine, or choose another docker.subnetPool. The hub tries again by itself."
    )


def _process(c: Any, settings: Settings, data: DataDir) -> None:
    from persistent_terminal_hub.hub.process_spawner import PersistentProcessSpawner, default_command

    log.warning("%s", backends.NOT_ISOLATED)
    c.JupyterHub.spawner_class = PersistentProcessSpawner
    c.PersistentProcessSpawner.cmd = default_command(settings.workspace.stop_timeout_seconds)
    c.PersistentProcessSpawner.data_dir = str(data.path)
    c.PersistentProcessSpawner.settings = settings
    c.PersistentProcessSpawner.hub_id = data.hub_id()
    c.PersistentProcessSpawner.stop_timeout = settings.workspace.stop_timeout_seconds


def _authenticator(c: Any, settings: Settings, data: DataDir) -> None:
    from persistent_terminal_hub.hub.authenticator import FIRST_ADMIN, LocalAuthenticator, OAuth2Authenticator

    auth = settings.auth
    c.OwnHandlers.pth_settings = settings
    c.Authenticator.admin_users = set(auth.admin_users)
    # A session that is still open asks again after this long, and before each start.
    c.Authenticator.auth_refresh_age = 300
    if auth.provider == "local":
        c.JupyterHub.authenticator_class = LocalAuthenticator
        c.Authenticator.admin_users = {*auth.admin_users, FIRST_ADMIN}
        c.Authenticator.any_allow_config = True  # approval is the allow-list
        c.Authenticator.refresh_pre_spawn = True
        c.LocalAuthenticator.enable_signup = auth.sign_up
        c.LocalAuthenticator.open_sign_up = auth.allow_all
        c.LocalAuthenticator.minimum_password_length = 10
        c.LocalAuthenticator.check_common_password = True
        c.LocalAuthenticator.allowed_failed_logins = 5
        c.LocalAuthenticator.seconds_before_next_try = 300
        return
    c.JupyterHub.authenticator_class = OAuth2Authenticator
    oauth = c.OAuth2Authenticator
    endpoints, name = _provider(settings, data)
    if endpoints.warning:
        log.warning("%s", endpoints.warning)
    oauth.authorize_url = endpoints.authorize_url
    oauth.token_url = endpoints.token_url
    oauth.userdata_url = endpoints.userdata_url
    oauth.provider_name = oauth.login_service = name
    if preset_of(auth.provider).proves_fresh_login:
        oauth.issuer = endpoints.issuer
        oauth.jwks_url = endpoints.jwks_url
        oauth.id_token_algorithms = list(endpoints.id_token_algorithms)
    oauth.username_claim = auth.username_claim
    oauth.scope = list(auth.scopes)
    oauth.client_id = auth.client_id
    oauth.client_secret = auth.client_secret.get_secret_value()
    oauth.oauth_callback_url = auth.callback_url
    oauth.enable_pkce = True
    # First, because the group settings below are refused without it.
    oauth.manage_groups = bool(auth.groups_claim)
    if oauth.manage_groups:
        oauth.auth_state_groups_key = f"oauth_user.{auth.groups_claim}"
        oauth.allowed_groups = set(auth.allowed_groups)
        oauth.admin_groups = set(auth.admin_groups)
    oauth.allowed_users = set(auth.allowed_users)
    oauth.allow_all = auth.allow_all
    oauth.custom_403_message = (
        f"{name} knows you, but you are not allowed on this hub. "
        "Ask an administrator to add your user name to auth.allowedUsers or you to an allowed group."
    )
    if warning := nobody_allowed(settings):
        log.warning("%s", warning)


def _provider(settings: Settings, data: DataDir) -> tuple[Endpoints, str]:
    """The provider's endpoints, and what sentences call it."""
    auth = settings.auth
    preset = preset_of(auth.provider)
    if not preset.oidc:
        return Endpoints("", preset.authorize_url, preset.token_url, preset.userdata_url), preset.title
    endpoints = discover(auth.issuer, data.discovery_cache)
    if auth.provider == "oauth2":
        return endpoints, urlsplit(endpoints.issuer).netloc
    return endpoints, preset.title
