"""The process: reads the settings, runs a cycle every `culler.intervalSeconds`, ends on SIGTERM.

It is told where the hub is as `services.py` says, and reads the hub's signing keys in the data directory.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Sequence

from persistent_terminal_hub import policy
from persistent_terminal_hub.audit import Outbox
from persistent_terminal_hub.config.rules import rules_for, rules_in_workspace
from persistent_terminal_hub.culler.cycle import Culler
from persistent_terminal_hub.culler.http import Http
from persistent_terminal_hub.culler.hub_api import HubApi
from persistent_terminal_hub.culler.leftovers import LeftoverWatch
from persistent_terminal_hub.culler.log import DecisionLog
from persistent_terminal_hub.culler.workspaces import TOKEN_SECONDS, Sign, Workspaces
from persistent_terminal_hub.policy import Rules
from persistent_terminal_hub.rules_file import rules_hash
from persistent_terminal_hub.services import Place, begin
from persistent_terminal_hub.settings import Settings
from persistent_terminal_hub.signing_keys import KeyStore
from persistent_terminal_hub.tokens import Purpose, issue

#: How much of an interval the questions of a cycle are spread over.
SPREAD = 0.25
#: A hub that is starting is asked again so soon.
HUB_AGAIN_SECONDS = 5.0


def signer(keys: KeyStore, hub_id: str) -> Sign:
    """Signs `steer` tokens with the hub's present key."""

    def sign(workspace_id: str, actions: Sequence[str]) -> str:
        return issue(
            keys.signing(),
            Purpose.STEER,
            issuer=f"hub:{hub_id}",
            audience=f"workspace:{workspace_id}",
            subject="service:culler",
            lifetime=TOKEN_SECONDS,
            claims={"actions": list(actions)},
        )

    return sign


def key_store(settings: Settings) -> KeyStore:
    """The hub's keys, to sign with; the hub itself replaces them."""
    return KeyStore(settings.data_dir.expanduser().absolute() / "keys", max_age=0)


def build(settings: Settings, place: Place, http: Http, log: DecisionLog) -> Culler:
    """Everything put together."""
    culler = settings.culler
    hub = HubApi(http, place.api_url, place.api_token)
    sign = signer(key_store(settings), place.hub_id)
    workspaces = Workspaces(http, sign, float(culler.timeout_seconds))

    def rules(user: str, groups: frozenset[str], name: str) -> Rules:
        return rules_for(settings, user, groups, name)

    def told(user: str, groups: frozenset[str], name: str) -> Rules:
        return rules_in_workspace(settings, user, groups, name)

    return Culler(
        hub,
        workspaces,
        LeftoverWatch(hub, rules, policy.decide, log, culler.dry_run),
        rules,
        told,
        rules_hash,
        policy.decide,
        log,
        concurrency=culler.concurrency,
        spread=culler.interval_seconds * SPREAD,
        dry_run=culler.dry_run,
        verbose=settings.log_level == "DEBUG",
    )


async def run(culler: Culler, interval: float, log: DecisionLog, verbose: bool) -> None:
    """Cycles until SIGTERM or SIGINT. A cycle that takes longer than the interval is followed by the next."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    ending = asyncio.ensure_future(stop.wait())
    first = True
    while not stop.is_set():
        began = time.monotonic()
        cycle = asyncio.ensure_future(culler.run_once())
        await asyncio.wait({cycle, ending}, return_when=asyncio.FIRST_COMPLETED)
        if not cycle.done():
            cycle.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await cycle
            return
        tally = cycle.result()
        if tally.workspaces and (first or verbose):
            first = False
            reason = f"{tally.reached} of {tally.workspaces} workspaces answered"
            log.line("cycle", reason=reason, seconds=round(tally.seconds, 3), actions=tally.actions)
        pause = min(interval, HUB_AGAIN_SECONDS) if culler.hub_is_away else interval
        left = pause - (time.monotonic() - began)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(ending), max(left, 0.1))


async def serve(settings: Settings, place: Place) -> None:
    """Build and run."""
    outbox = Outbox(settings.data_dir.expanduser().absolute() / "audit")
    log = DecisionLog(settings.culler.dry_run, audit=outbox.record)
    http = Http(settings.culler.concurrency)
    try:
        await run(
            build(settings, place, http, log),
            float(settings.culler.interval_seconds),
            log,
            settings.log_level == "DEBUG",
        )
    finally:
        http.close()


def main() -> int:
    """Run until told to stop; the exit code."""
    found = begin("culler")
    if found is None:
        return 1
    asyncio.run(serve(*found))
    return 0
