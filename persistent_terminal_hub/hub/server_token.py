"""A new API token for a server that runs already, as JupyterHub would have made it at a start.

JupyterHub keeps only a token's hash. After a restart of the hub the token of a running workspace is
therefore unknown, and a workspace whose container was restarted meanwhile needs one. The token is also
the secret of the server's OAuth client, so both are set together.
"""

from __future__ import annotations

from typing import Any

from jupyterhub import orm, roles, scopes
from jupyterhub.utils import maybe_future, url_escape_path, url_path_join

ACTIVITY = ("users:activity!user", "users:activity", "inherit")


async def mint(spawner: Any) -> str:
    """Give the spawner a new token and its OAuth client the same secret; return the token.

    The old tokens stay valid until :func:`revoke_others`, because the workspace may still hold one.
    """
    user = spawner.user
    db = user.db
    token: str = user.new_api_token(note=_note(spawner), scopes=await _granted_scopes(spawner))
    spawner.api_token = token
    provider = user.settings.get("oauth_provider")
    if provider:
        allowed = await spawner._get_oauth_client_allowed_scopes()
        spawner.orm_spawner.oauth_client = provider.add_client(
            spawner.oauth_client_id,
            token,
            url_path_join(user.url, url_escape_path(spawner.name), "oauth_callback"),
            allowed_scopes=allowed,
            description=f"Server at {url_path_join(user.base_url, spawner.name, '/')}",
        )
    db.commit()
    return token


def revoke_others(spawner: Any) -> int:
    """Delete this server's earlier tokens; return how many."""
    user = spawner.user
    note = _note(spawner)
    keep = orm.APIToken.find(user.db, spawner.api_token)
    if keep is None:
        return 0
    old = [token for token in user.orm_user.api_tokens if token.note == note and token.id != keep.id]
    for token in old:
        user.db.delete(token)
    user.db.commit()
    return len(old)


def _note(spawner: Any) -> str:
    base_url = url_path_join(spawner.user.base_url, url_escape_path(spawner.name), "/")
    return f"Server at {base_url}"


async def _granted_scopes(spawner: Any) -> set[str]:
    """What the server may do with its token: what is configured, as far as the user may."""
    user = spawner.user
    db = user.db
    wanted = spawner.server_token_scopes
    if callable(wanted):
        wanted = await maybe_future(wanted(spawner))
    wanted = set(wanted or orm.Role.find(db, "server").scopes)
    own = f"={user.name}/{spawner.name}"
    wanted = {scope + own if scope.endswith("!server") else scope for scope in wanted}
    if not wanted.intersection(ACTIVITY):
        wanted.add(ACTIVITY[0])
    have = roles.roles_to_scopes(roles.get_roles_for(user.orm_user)) | {"inherit"}
    client = db.query(orm.OAuthClient).filter_by(identifier="jupyterhub").one()
    granted, _ = scopes._resolve_requested_scopes(wanted, have, user.orm_user, client, db)
    return set(granted)
