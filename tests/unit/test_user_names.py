"""Who may be renamed or deleted: nobody whose files would be found by somebody else."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from jupyterhub import orm
from jupyterhub.utils import utcnow
from tornado.web import HTTPError

from persistent_terminal_hub.hub.user_names import WorkspacesStopFirst, protect_user_names


@pytest.fixture
def session() -> Any:
    protect_user_names()
    protect_user_names()  # a configuration may be loaded twice
    return orm.new_session_factory("sqlite:///:memory:")()


def user(session: Any, *, started: bool) -> orm.User:
    made = orm.User(name="ann")
    made._orm_spawners.append(orm.Spawner(name="", last_activity=utcnow() if started else None))
    session.add(made)
    session.commit()
    session.expire_all()
    return made


def test_a_user_who_has_had_a_workspace_keeps_the_name(session: Any) -> None:
    ann = user(session, started=True)
    with pytest.raises(HTTPError) as refused:
        ann.name = "bob"
    assert refused.value.status_code == 409
    ann.name = "ann"
    session.commit()
    assert ann.name == "ann"


def test_others_may_be_renamed(session: Any) -> None:
    ann = user(session, started=False)
    ann.name = "bob"
    session.commit()
    assert orm.User.find(session, "bob") is ann


def test_a_user_is_deleted_only_when_nothing_runs() -> None:
    deleted = []

    class Parent:
        def delete_user(self, user: Any) -> None:
            deleted.append(user)

    class Both(WorkspacesStopFirst, Parent):
        pass

    still, stopped = SimpleNamespace(active=True), SimpleNamespace(active=False)
    with pytest.raises(HTTPError, match=r"ann still has running workspaces \(gpu\): stop them first"):
        Both().delete_user(SimpleNamespace(name="ann", spawners={"": stopped, "gpu": still}))
    assert deleted == []
    Both().delete_user(SimpleNamespace(name="ann", spawners={"": stopped}))
    assert len(deleted) == 1
