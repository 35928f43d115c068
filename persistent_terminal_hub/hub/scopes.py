"""Scopes of our own, which JupyterHub grants to services and people by their roles."""

#: Lets the culler see running workspaces and orphans and have orphans adopted: nothing of JupyterHub's own.
CULL_SCOPE = "custom:persistent-terminals:cull"
#: Lets a person see and steer all workspaces; see `control_service.py`.
OPERATE_SCOPE = "custom:persistent-terminals:operate"
CUSTOM_SCOPES = {
    OPERATE_SCOPE: {
        "description": "See every workspace and its sessions; lock, warn, stop, end, extend. Opens nothing.",
    },
    CULL_SCOPE: {
        "description": "List workspaces with their internal addresses, list and adopt containers that the "
        "hub does not know, remove containers that have stopped. Files stay.",
    },
}
