"""The passkeys that people have enrolled: `<data>/passkeys.sqlite` (0600), read and written by hub and CLI.

A file of its own, because the hub's database is JupyterHub's, and because public keys are all that it holds:
whoever reads it can impersonate nobody. Every question is asked of the file, so a reset counts at once.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, IntegrityError

#: Of the file; a newer one is not touched.
VERSION: Final = 1
#: Seconds to wait for another process that writes.
PATIENCE: Final = 5.0

_metadata = sa.MetaData()
_passkeys = sa.Table(
    "passkeys",
    _metadata,
    sa.Column("id", sa.LargeBinary, primary_key=True),
    sa.Column("user", sa.Text, nullable=False, index=True),
    sa.Column("rp_id", sa.Text, nullable=False),
    sa.Column("public_key", sa.LargeBinary, nullable=False),
    sa.Column("sign_count", sa.Integer, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("created", sa.Float, nullable=False),
    sa.Column("last_used", sa.Float),
    sa.Column("transports", sa.Text, nullable=False),
)


class PasskeyStoreError(Exception):
    """The passkeys cannot be read or written; the text says why."""


@dataclass(frozen=True, slots=True)
class Passkey:
    """One enrolled passkey."""

    #: The credential id, which the authenticator chose.
    id: bytes
    user: str
    #: Host of the hub that it was made for; browsers offer it there only.
    rp_id: str
    #: COSE key.
    public_key: bytes
    #: As of its last use; 0 for ever with authenticators that do not count.
    sign_count: int
    #: What its owner calls it.
    name: str
    #: Wall clock in seconds.
    created: float
    last_used: float | None = None
    #: How browsers reach the authenticator: hints of its own (`internal`, `usb`...).
    transports: tuple[str, ...] = ()


class PasskeyStore:
    """The file; made when the first passkey is added. Every method may raise PasskeyStoreError."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def of(self, user: str) -> list[Passkey]:
        """The user's, the oldest first."""
        return self._select(sa.select(_passkeys).where(_passkeys.c.user == user))

    def everybody(self) -> list[Passkey]:
        """All of them, by user."""
        return self._select(sa.select(_passkeys).order_by(_passkeys.c.user))

    def add(self, passkey: Passkey) -> bool:
        """False if this credential is enrolled already, by whomever."""
        row = {
            column.name: getattr(passkey, column.name)
            for column in _passkeys.columns
            if column.name != "transports"
        }
        try:
            with self._begin(write=True) as connection:
                connection.execute(
                    _passkeys.insert().values(row | {"transports": " ".join(passkey.transports)})
                )
        except IntegrityError:
            return False
        return True

    def used(self, user: str, id_: bytes, sign_count: int, now: float) -> bool:
        """Note a use, in one step with the check that its counter goes on; False if it does not.

        A counter that stands still or goes back means that there are two of a kind (WebAuthn 6.1.1).
        """
        goes_on = _passkeys.c.sign_count < sign_count
        if sign_count == 0:
            goes_on = _passkeys.c.sign_count == 0  # an authenticator that does not count
        mine = (_passkeys.c.id == id_) & (_passkeys.c.user == user)
        with self._begin(write=True) as connection:
            done = connection.execute(
                _passkeys.update().where(mine & goes_on).values(sign_count=sign_count, last_used=now)
            )
        return done.rowcount == 1

    def remove(self, user: str, id_: bytes) -> Passkey | None:
        """The one that was removed; None if the user had none of this id."""
        mine = (_passkeys.c.id == id_) & (_passkeys.c.user == user)
        with self._begin(write=True) as connection:
            row = connection.execute(sa.select(_passkeys).where(mine)).mappings().one_or_none()
            if row is None:
                return None
            connection.execute(_passkeys.delete().where(mine))
            return _passkey(row)

    def forget(self, user: str) -> int:
        """Remove all of a user's; how many there were. Makes no file."""
        if not self.path.exists():
            return 0
        with self._begin(write=True) as connection:
            return connection.execute(_passkeys.delete().where(_passkeys.c.user == user)).rowcount

    def _select(self, query: sa.Select[tuple[object, ...]]) -> list[Passkey]:
        if not self.path.exists():
            return []
        with self._begin() as connection:
            return [_passkey(row) for row in connection.execute(query.order_by("created")).mappings()]

    @contextmanager
    def _begin(self, *, write: bool = False) -> Iterator[sa.Connection]:
        """A transaction on a connection of its own: threads and processes may come at any time."""
        try:
            if write and not self.path.exists():
                os.close(os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
            engine = sa.create_engine(
                sa.URL.create("sqlite", database=str(self.path)),
                poolclass=sa.NullPool,
                connect_args={"timeout": PATIENCE},
            )
            with engine.begin() as connection:
                _prepare(connection, self.path)
                yield connection
        except IntegrityError:
            raise
        except (OSError, DBAPIError) as error:
            why = error.strerror if isinstance(error, OSError) else str(getattr(error, "orig", error))
            raise PasskeyStoreError(f"The passkeys in {self.path} cannot be used ({why}).") from None


def _prepare(connection: sa.Connection, path: Path) -> None:
    version = connection.execute(sa.text("PRAGMA user_version")).scalar_one()
    if version == VERSION:
        return
    if version != 0:
        raise PasskeyStoreError(f"{path} was written by a newer version ({version}): install that one.")
    _metadata.create_all(connection)
    connection.execute(sa.text(f"PRAGMA user_version = {VERSION}"))


def _passkey(row: sa.RowMapping) -> Passkey:
    return Passkey(**{**row, "transports": tuple(str(row["transports"]).split())})
