"""A house full of people for the panel: made up, the same each time."""

from __future__ import annotations

import json
import math
import random
import time
from typing import Any

FIRST = (
    "ada", "grace", "alan", "edsger", "barbara", "donald", "margaret", "tony", "frances", "john", "katherine",
    "ken", "radia", "dennis", "hedy", "linus", "jean", "niklaus", "mary", "claude",
)  # fmt: skip
LAST = ("lovelace", "hopper", "turing", "dijkstra", "liskov", "knuth", "hamilton", "hoare", "allen", "backus")
NAMES = (
    ("", "default"), ("spring", "Spring campaign"), ("forecast", "Forecast 2027"), ("arabic", "تجربة الربيع"),
    ("long", "Everything that was ever measured in the northern plant, with all corrections up to last week"),
)  # fmt: skip
WORK = ("training", "etl", "notes", "dashboard", "tuning", "git", "logs", "main")

#: Answers instead of the service, by a part of the address: a list is a stream that stays open, an object a
#: refusal, a text JSON.
ANSWERING = """(() => {
  const real = window.fetch, known = %s;
  const stream = texts => new ReadableStream({
    start: to => texts.forEach(text => to.enqueue(new TextEncoder().encode(text)))
  });
  window.fetch = async (url, more) => {
    const found = Object.entries(known).find(([part]) => String(url).includes(part))?.[1];
    if (found === undefined) return real(url, more);
    if (Array.isArray(found)) return new Response(stream(found));
    const headers = { 'Content-Type': 'application/json' };
    return new Response(found.text ?? found, { status: found.status ?? 200, headers });
  };
})()"""


def board(people: int = 60) -> list[dict[str, Any]]:
    """Rows of users, workspaces and what is wrong with some of them."""
    dice = random.Random(7)
    now = time.time()
    users: list[dict[str, Any]] = []
    places: list[dict[str, Any]] = []
    for number in range(people):
        name = f"{FIRST[number % len(FIRST)]}.{LAST[number * 7 % len(LAST)]}{number // len(FIRST) or ''}"
        users.append(
            user_row(
                name, number == 0, ["research"] if number % 3 else ["research", "gpu"], now - 60 * number
            )
        )
        for at in range(1 + (number % 4 == 0)):
            slug, display = NAMES[(number // 2 + at) % len(NAMES)]
            kind = "stopped" if number % 5 == 3 else "starting" if number % 17 == 6 else "running"
            places.append(place(name, slug, display, kind, dice, now))
    places[2] |= {"locked": True, "asked": ""}
    places[5] |= {"answers": False, "silentSince": now - 260}
    for one in places:
        if one["locked"]:
            one["sessions"] = [{**session, "state": "locked"} for session in one["sessions"]]
    orphan = {
        "key": "o:left/over", "owner": "left.employee", "name": "over", "container": "3f9a5c1d2e7b",
        "paused": False, "userKnown": False, "deleted": False,
    }  # fmt: skip
    return [*users, *places, orphan, {"key": "hub", "answers": True, "since": now - 9000}]


def user_row(name: str, admin: bool, groups: list[str], seen: float) -> dict[str, Any]:
    """A user."""
    last = time.strftime("%Y-%m-%dT%H:%M:%S.000000Z", time.gmtime(seen))
    return {"key": f"u:{name}", "user": name, "admin": admin, "groups": groups, "lastActivity": last}


def place(
    owner: str, slug: str, display: str, status: str, dice: random.Random, now: float
) -> dict[str, Any]:
    """A workspace with its sessions."""
    runs = status == "running"
    names = dice.sample(WORK, dice.randint(0, 4)) if runs else []
    sessions = [
        {
            "id": f"{owner}{slug}{name}", "name": name,
            "state": dice.choice(["active", "dormant", "dormant"]),
            "created": now - dice.randint(300, 90_000),
            "busySince": now - dice.randint(20, 20_000) if dice.random() < 0.5 else None,
            "memory": dice.choice([0, 24, 120, 480, 2304]),
        }
        for name in names
    ]  # fmt: skip
    return {
        "key": f"w:{owner}/{slug}", "id": f"{owner}~{slug}", "owner": owner, "name": slug, "display": display,
        "status": status, "started": None, "lastActivity": None, "answers": True if runs else None,
        "silentSince": None, "locked": dice.random() < 0.1 if runs else None, "asked": "",
        "presence": now - dice.randint(5, 30_000) if runs else None, "kernelBusy": dice.random() < 0.2,
        "sessions": sessions,
    }  # fmt: skip


def stream(rows: list[dict[str, Any]]) -> str:
    """As `api/admin/events` sends them."""
    data = json.dumps({"rows": rows, "gone": [], "whole": True, "more": False})
    return f"event: board\ndata: {data}\n\n"


def usage() -> str:
    """A day of `api/usage`."""
    now = int(time.time()) // 600 * 600
    dice = random.Random(3)
    samples = []
    for at in range(now - 86_400, now, 600):
        day = 0.5 + 0.5 * math.sin((at % 86_400) / 86_400 * 2 * math.pi - 2)
        cpus = 2 + 22 * day * (0.8 + dice.random() / 3)
        samples.append(amount(cpus * 600, (14 + 60 * day + 4 * dice.random()) * 2**30) | {"at": at})
    users = [f"{FIRST[n]}.{LAST[n * 7 % 10]}" for n in range(14)]
    workspaces = [
        amount(260_000 / (n + 1) ** 1.2, 60e9 / (n + 2)) | {"user": user, "name": NAMES[n % 4][0]}
        for n, user in enumerate(users)
    ]
    return json.dumps(
        {
            "from": now - 86_400,
            "to": now,
            "resolution": "10min",
            "users": [],
            "workspaces": workspaces,
            "samples": samples,
        }
    )


def amount(cpu: float, memory: float) -> dict[str, float]:
    """What was used."""
    return {
        "cpuSeconds": cpu, "memoryBytes": memory, "diskBytes": memory / 3, "receivedBytes": memory / 9,
        "sentBytes": memory / 30,
    }  # fmt: skip
