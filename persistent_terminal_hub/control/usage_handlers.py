"""`GET /api/usage`: what workspaces used, one's own or, for administrators and operators, everybody's."""

from __future__ import annotations

import time
from typing import Literal

from pydantic import Field

from persistent_terminal_hub.control.documented import documented
from persistent_terminal_hub.control.errors import ApiError
from persistent_terminal_hub.control.rights import Action
from persistent_terminal_hub.control.usage_samples import DAY, HOUR, Sample
from persistent_terminal_hub.control.web import ApiHandler, Body, Reply

#: Samples in one answer.
MOST_SAMPLES = 20_000
#: The end of the year 9999.
LAST = 253_402_300_799
_WIDTHS = {"minute": 60, "10min": 600, "hour": HOUR, "day": DAY}


class UsageQuery(Body):
    """The query's arguments; moments are seconds since 1970."""

    from_: int | None = Field(None, alias="from", ge=0, le=LAST, description="Default: a day before `to`.")
    to: int | None = Field(None, ge=0, le=LAST, description="Default: now.")
    resolution: Literal["minute", "10min", "hour", "day"] | None = Field(
        None, description="Samples of that width; none without it."
    )
    user: str | None = Field(None, min_length=1, max_length=255, description="Default: yourself.")
    all: bool = Field(False, description="Everybody.")
    sessions: bool = Field(False, description="Sums of each session, too.")


class Amount(Reply):
    """What was used. Memory is the mean, `memoryPeak` the most that was seen, disk the most."""

    cpu_seconds: float
    memory_bytes: int
    memory_peak: int
    disk_bytes: int
    received_bytes: int
    sent_bytes: int


class UserUsage(Amount):
    """The sum of a user's workspaces; of memory and disk, too."""

    user: str


class SampleReply(Amount):
    """One part of the time, which begins at `at`."""

    at: int


class SessionUsage(Amount):
    """One session."""

    id: str


class WorkspaceUsage(Amount):
    """One workspace."""

    user: str
    name: str
    samples: list[SampleReply] = Field(default_factory=list)
    sessions: list[SessionUsage] = Field(default_factory=list)


class UsageReply(Reply):
    """The answer."""

    from_: int = Field(serialization_alias="from")
    to: int
    resolution: str | None
    users: list[UserUsage]
    workspaces: list[WorkspaceUsage]


class UsageHandler(ApiHandler):
    """What was used."""

    @documented(query=UsageQuery, answers={200: UsageReply}, refuses=(404,))
    async def get(self) -> None:
        """Sums of a time, by user and workspace, and samples if a resolution is asked for."""
        query = self.query(UsageQuery)
        owner = self._owner(query)
        end = int(time.time()) + 1 if query.to is None else query.to
        begin = max(0, end - DAY) if query.from_ is None else query.from_
        if begin >= end:
            raise ApiError(422, "`from` must be before `to`.")
        store, blocking = self.control.usage, self.control.blocking
        totals = await blocking(store.totals, begin, end, owner=owner)
        found = {
            (each.owner, each.workspace): WorkspaceUsage(
                user=each.owner, name=each.workspace, **_amount(each)
            )
            for each in totals
        }
        if query.resolution:
            width = _WIDTHS[query.resolution]
            parts = await blocking(
                store.totals, begin, end, owner=owner, resolution=width, most=MOST_SAMPLES + 1
            )
            if len(parts) > MOST_SAMPLES:
                raise self._too_many()
            for each in parts:
                found[each.owner, each.workspace].samples.append(SampleReply(at=each.at, **_amount(each)))
        if query.sessions:
            for each in await blocking(store.totals, begin, end, owner=owner, sessions=True):
                workspace = found.get((each.owner, each.workspace))
                if workspace is not None:
                    workspace.sessions.append(SessionUsage(id=each.session, **_amount(each)))
        self.reply(
            UsageReply(
                from_=begin,
                to=end,
                resolution=query.resolution,
                users=_users(totals),
                workspaces=list(found.values()),
            )
        )

    def _owner(self, query: UsageQuery) -> str | None:
        """Whose workspaces; None: everybody's."""
        if query.all and query.user is not None:
            raise ApiError(422, "Ask for `all` or for one `user`, not for both.")
        if query.all:
            if not self.caller.sees_all:
                raise ApiError(403, "Only administrators and operators see what others use.")
            return None
        owner = query.user or self.caller.name
        self.need(Action.VIEW, owner, None, "user")
        return owner

    @staticmethod
    def _too_many() -> ApiError:
        return ApiError(
            422,
            f"The answer would have more than {MOST_SAMPLES} samples.",
            "Ask for a shorter time, a coarser resolution, or one user.",
        )


def _amount(used: Sample) -> dict[str, float | int]:
    return {name: getattr(used, name) for name in Amount.model_fields}


def _users(totals: list[Sample]) -> list[UserUsage]:
    sums: dict[str, dict[str, float | int]] = {}
    for each in totals:
        mine = sums.setdefault(each.owner, dict.fromkeys(_amount(each), 0))
        for name, value in _amount(each).items():
            mine[name] += value
    return [UserUsage.model_validate({"user": user, **amount}, by_name=True) for user, amount in sums.items()]


usage_routes = [(r"api/usage", UsageHandler)]
