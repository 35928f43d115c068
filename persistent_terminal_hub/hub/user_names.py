"""Files are stored under their owner's name, so a name must not be passed on with files behind it.

Two things are therefore refused that JupyterHub would do: renaming a user who has had a workspace (the
files would stay behind under the old name, for whoever is given that name next), and deleting a user while
a workspace still runs (JupyterHub would delete some of the files and then fail).
"""

from __future__ import annotations

from typing import Any

from jupyterhub import orm
from sqlalchemy import event, inspect
from tornado.web import HTTPError


def protect_user_names() -> None:
    """Refuse to rename users who have had a workspace, whoever asks and in whatever way."""
    if not event.contains(orm.User.name, "set", _on_rename):
        # active_history: the old name is loaded first, or it could look as if there were none.
        event.listen(orm.User.name, "set", _on_rename, active_history=True)


def _on_rename(user: orm.User, new: str, old: Any, _initiator: object) -> None:
    if not inspect(user).persistent or new == old:
        return
    # Set at every start, also one that failed, and never taken away.
    if any(spawner.last_activity is not None for spawner in user._orm_spawners):
        raise HTTPError(
            409,
            f"{old} keeps this name, because the files of workspaces are stored under it. "
            "Create another user instead; the files can be copied over by their owner.",
        )


class WorkspacesStopFirst:
    """What our authenticators share: JupyterHub asks them before it deletes a user and the user's files."""

    def delete_user(self, user: Any) -> Any:
        """Refuse while a workspace runs; JupyterHub has stopped the default one by now."""
        running = sorted(
            name or "the default one" for name, spawner in user.spawners.items() if spawner.active
        )
        if running:
            raise HTTPError(
                409,
                f"{user.name} still has running workspaces ({', '.join(running)}): stop them first. "
                "Nothing was deleted.",
            )
        return super().delete_user(user)  # type: ignore[misc]
