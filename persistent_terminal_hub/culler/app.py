"""The process: reads the settings, runs a cycle every `culler.intervalSeconds`, ends on SIGTERM.

From its environment: `PTH_CONFIG` and `PTH_*` (the settings), `PTH_HUB_ID`, `JUPYTERHUB_API_URL` and
`JUPYTERHUB_API_TOKEN`, which `serve` sets. It needs to read the hub's signing keys in the data directory.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

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
from persistent_terminal_hub.settings import Settings, SettingsError, load_settings
from persistent_terminal_hub.signing_keys import KeyStore
from persistent_terminal_hub.tokens import Purpose, issue

#: How much of an interval the questions of a cycle are spread over.
SPREAD = 0.25
#: A hub that is starting is asked again so soon.
HUB_AGAIN_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Place:
    """Where the hub is and who we are there."""

    hub_id: str
    api_url: str
    api_token: str


def place_of(environ: Mapping[str, str]) -> Place:
    """From the environment; ValueError names what is missing."""
    names = ("PTH_HUB_ID", "JUPYTERHUB_API_URL", "JUPYTERHUB_API_TOKEN")
    missing = [name for name in names if not environ.get(name)]
    if missing:
        raise ValueError(
            f"The culler needs {', '.join(missing)} in its environment: `persistent-terminal-hub serve` "
            "starts it with them."
        )
    return Place(*(environ[name] for name in names))


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
    try:
        settings = load_settings()
        place = place_of(os.environ)
    except SettingsError as error:
        print("\n".join(f"error: {problem}" for problem in error.problems), file=sys.stderr)
        return 1
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    asyncio.run(serve(settings, place))
    return 0
