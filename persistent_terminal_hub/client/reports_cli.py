"""`persistent-terminal-hub usage` and `audit list`: what was used, who did what, by the control service."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from .command import DONE, Duration, hub_option, json_option, print_json, print_lines, run, say
from .tables import duration, size, table

if TYPE_CHECKING:
    from .control_service import ControlService
    from .shapes import Amount

_HEAD = ("CPU", "MEMORY", "PEAK", "DISK", "RECEIVED", "SENT")


@click.command()
@click.option("--since", type=Duration(), default=86400.0, help="How far back: 4h, 7d; else one day.")
@click.option("--user", metavar="USER", help="What USER used.")
@click.option("--all", "all_", is_flag=True, help="What everybody used (administrators and operators).")
@click.option("--sessions", "by_session", is_flag=True, help="Sums of each session, too.")
@json_option
@hub_option
def usage(
    since: float, user: str | None, all_: bool, by_session: bool, as_json: bool, hub: str | None
) -> None:
    """Show what workspaces used: your own ones, if nothing else is said.

    Memory is the mean, PEAK the most that was seen.
    """

    async def work(service: ControlService) -> int:
        start = max(0, int(time.time() - since))
        found = await service.usage(start=start, user=user, everybody=all_, sessions=by_session)
        if as_json:
            print_json(found.json_object())
            return DONE
        if not found.workspaces:
            say("Nothing was measured in that time.")
            return DONE
        rows: list[tuple[object, ...]] = []
        for item in found.workspaces:
            rows.append((f"{item.user}/{item.name}", *_cells(item)))
            rows += [(f"  {each.id}", *_cells(each)) for each in item.sessions]
        rows += [(f"{item.user}, all", *_cells(item)) for item in found.users]
        print_lines(table(("WORKSPACE", *_HEAD), rows))
        return DONE

    run(hub, work)


def _cells(amount: Amount) -> tuple[str, ...]:
    return (
        duration(amount.cpu_seconds),
        *map(
            size,
            (
                amount.memory_bytes,
                amount.memory_peak,
                amount.disk_bytes,
                amount.received_bytes,
                amount.sent_bytes,
            ),
        ),
    )


@click.command("list")
@click.option("--who", metavar="USER", default="", help="Who did it.")
@click.option("--what", metavar="KIND", default="", help="Such as workspace.create, execute, unlock.")
@click.option("--on", metavar="USER/NAME", default="", help="On which workspace.")
@click.option("--result", metavar="RESULT", default="", help="Such as ok or refused.")
@click.option("--since", type=Duration(), help="How far back: 4h, 7d.")
@click.option("-n", "--limit", type=click.IntRange(1, 1000), default=50, show_default=True)
@click.option("--all", "all_", is_flag=True, help="Everything that matches, as lines of JSON.")
@json_option
@hub_option
def audit_list(
    since: float | None, limit: int, all_: bool, as_json: bool, hub: str | None, **wanted: str
) -> None:
    """List what the audit log holds, the newest first, as an administrator or operator of the hub.

    `verify` and `export` read the database itself, on the hub's machine.
    """

    async def work(service: ControlService) -> int:
        query: dict[str, Any] = dict(wanted)
        if since is not None:
            query["since"] = datetime.fromtimestamp(time.time() - since, UTC).isoformat(timespec="seconds")
        if all_:
            async for record in service.export_audit(**query):
                print(json.dumps(record.json_object(), ensure_ascii=False))
            return DONE
        page = await service.audit(**query, limit=limit)
        if as_json:
            print_json(page.json_object())
            return DONE
        rows = [
            (item.number, *(item.record.get(name, "") for name in ("at", "who", "what", "on", "result")))
            for item in page.records
        ]
        print_lines(table(("NUMBER", "AT", "WHO", "WHAT", "ON", "RESULT"), rows))
        if page.before is not None:
            say("There are older ones: give a larger --limit, or --all.")
        return DONE

    run(hub, work)
