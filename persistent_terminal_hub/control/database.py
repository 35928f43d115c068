"""The control service's database: SQLite by default, PostgreSQL for several instances.

Calls block; the service makes them in worker threads. Several processes may start at the same time: one of
them brings the tables up to date, the others wait for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_random_exponential

T = TypeVar("T")

#: How long SQLite waits for another process that writes.
BUSY_SECONDS = 20.0
#: How long an interrupted transaction is tried again.
RETRY_SECONDS = 15.0
#: Any number, the same in all instances: PostgreSQL's advisory lock of the migration.
_MIGRATION_LOCK = 0x70746801
# serialization_failure, deadlock_detected, and a server that is just starting or stopping.
_PASSING = {"40001", "40P01", "57P01", "57P02", "57P03", "08006", "08001", "08003", "08000"}


class DatabaseError(Exception):
    """The database cannot be used; the sentence says why and never quotes its URL's password."""


class Database:
    """An engine and transactions on it."""

    def __init__(self, url: str) -> None:
        try:
            self.url = make_url(url)
            self.engine = _engine(url)
        except (SQLAlchemyError, ModuleNotFoundError) as error:
            raise DatabaseError(
                f"control.databaseUrl cannot be used ({type(error).__name__}): give sqlite:////path/to/file "
                "or postgresql+psycopg://user:password@host/name."
            ) from None
        self._sessions = sessionmaker(self.engine, expire_on_commit=False)

    @property
    def name(self) -> str:
        """The URL without its password."""
        return self.url.render_as_string(hide_password=True)

    def migrate(self) -> None:
        """Bring the tables up to date. Raises DatabaseError when that is impossible."""
        try:
            with self.engine.connect() as connection:
                _alone(connection, lambda: _upgrade(connection))
        except SQLAlchemyError as error:
            raise DatabaseError(
                f"The database {self.name} cannot be used ({_kind(error)}): see that it runs, that the user "
                "may create tables in it, and that its disk is not full."
            ) from None

    def run(self, work: Callable[[Session], T]) -> T:
        """The result of `work` in one transaction, which is repeated when another one got in its way.

        `work` must therefore change nothing but the database.
        """
        for attempt in Retrying(
            retry=retry_if_exception(passing),
            wait=wait_random_exponential(multiplier=0.02, max=1.0),
            stop=stop_after_delay(RETRY_SECONDS),
            reraise=True,
        ):
            with attempt, self._sessions.begin() as session:
                return work(session)
        raise AssertionError  # the last attempt returns or raises

    @contextmanager
    def session(self) -> Iterator[Session]:
        """One transaction, committed at the end; not repeated."""
        with self._sessions.begin() as session:
            yield session

    def close(self) -> None:
        """Let go of all connections."""
        self.engine.dispose()


def passing(error: BaseException) -> bool:
    """Whether the same transaction may well succeed if it is tried again."""
    if isinstance(error, DBAPIError):
        if error.connection_invalidated:
            return True
        state = getattr(error.orig, "sqlstate", None)
        return state in _PASSING or (isinstance(error, OperationalError) and "locked" in str(error.orig))
    return False


def _kind(error: SQLAlchemyError) -> str:
    orig = getattr(error, "orig", None)
    return type(orig or error).__name__


def _engine(url: str) -> Engine:
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        return create_engine(
            url, pool_pre_ping=True, pool_size=5, max_overflow=5, isolation_level="READ COMMITTED"
        )
    if parsed.database:
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url, connect_args={"timeout": BUSY_SECONDS})

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: Any) -> None:
        # pysqlite would begin transactions by itself, late and as readers; then two writers deadlock.
        connection.isolation_level = None
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def _alone(connection: Connection, work: Callable[[], None]) -> None:
    """Run `work` while no other process does."""
    with connection.begin():
        # SQLite: BEGIN IMMEDIATE has seen to it.
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
        work()


def _upgrade(connection: Connection) -> None:
    config = _config()
    head = ScriptDirectory.from_config(config).get_current_head()
    if MigrationContext.configure(connection).get_current_revision() != head:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
    return config
