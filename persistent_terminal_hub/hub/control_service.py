"""The control service as the hub knows it, and who may do what through it."""

from __future__ import annotations

from typing import Any

from persistent_terminal_hub.hub.data_dir import DataDir
from persistent_terminal_hub.hub.scopes import CULL_SCOPE, OPERATE_SCOPE
from persistent_terminal_hub.settings import Settings

NAME = "terminals"
ACCESS = f"access:services!service={NAME}"
#: All that the service may do by itself: look. Whatever it changes, it changes with its caller's token.
OWN_SCOPES = (CULL_SCOPE, "list:users", "read:users", "read:servers", "read:groups")
#: See and steer, but not open: neither access:servers nor tokens.
OPERATOR_SCOPES = (
    OPERATE_SCOPE, ACCESS, "list:users", "read:users:name", "read:users:groups", "read:users:activity",
    "read:servers", "delete:servers",
)  # fmt: skip


def prefix(settings: Settings) -> str:
    """Where the service answers, as the proxy sees it."""
    return f"{settings.server.base_url}services/{NAME}/"


def control_service(settings: Settings, data: DataDir) -> dict[str, Any]:
    """The entry of `c.JupyterHub.services`: external, so that it outlives the hub."""
    return {
        "name": NAME,
        "url": f"http://127.0.0.1:{settings.control.port}",
        "api_token": data.control_token(),
        "oauth_client_id": f"service-{NAME}",
        "oauth_redirect_uri": f"{prefix(settings)}oauth_callback",
        "oauth_no_confirm": True,
        # A browser's token does there what the person may do.
        "oauth_client_allowed_scopes": ["inherit"],
        "display": False,
    }


def control_roles(settings: Settings) -> list[dict[str, Any]]:
    """The roles of the service, of everybody, and of operators."""
    control = settings.control
    if not control.enabled:
        return []
    return [
        {"name": NAME, "scopes": list(OWN_SCOPES), "services": [NAME]},
        # JupyterHub's own role of every user, and the way in.
        {"name": "user", "scopes": ["self", ACCESS]},
        {
            "name": "operator",
            "description": "Sees and steers all workspaces, opens none",
            "scopes": list(OPERATOR_SCOPES),
            "users": sorted(control.operators),
            "groups": sorted(control.operator_groups),
        },
    ]


def control_environment(settings: Settings, data: DataDir, hub_origin: str) -> dict[str, str]:
    """What the service reads from its environment besides the settings."""
    base = settings.server.base_url
    access = [f'"{scope}"' for scope in ("access:services", ACCESS)]
    return {
        "PTH_HUB_ID": data.hub_id(),
        "JUPYTERHUB_SERVICE_NAME": NAME,
        "JUPYTERHUB_SERVICE_PREFIX": prefix(settings),
        "JUPYTERHUB_SERVICE_URL": f"http://127.0.0.1:{settings.control.port}",
        "JUPYTERHUB_CLIENT_ID": f"service-{NAME}",
        "JUPYTERHUB_OAUTH_CALLBACK_URL": f"{prefix(settings)}oauth_callback",
        "JUPYTERHUB_OAUTH_ACCESS_SCOPES": f"[{', '.join(access)}]",
        "JUPYTERHUB_API_URL": f"{hub_origin}{base}hub/api",
        "JUPYTERHUB_API_TOKEN": data.control_token(),
        "JUPYTERHUB_BASE_URL": base,
        "JUPYTERHUB_HOST": "",
    }
