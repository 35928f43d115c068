"""The administration panel: every view, every dialog, and what is wrong at times."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

from playwright.sync_api import Browser, expect

from tests.screenshots import made_up
from tests.screenshots.camera import At, Camera
from tests.support.stack import Stack

PANEL = "/services/terminals/admin"
#: Name of the picture, name of the button, whether of a session.
DIALOGS = (
    ("warn", "Send a message…"), ("lock", "Lock…"), ("stop", "Stop…"), ("end", "End session training"),
    ("extend", "Extend session training"), ("message", "Send a message to session training"),
)  # fmt: skip


def pictures(camera: Camera, browser: Browser, stack: Stack, device: str) -> None:
    """All of it on one device."""
    rows = made_up.board()
    training = {
        "id": "t", "name": "training", "state": "active", "created": rows[-1]["since"],
        "busySince": rows[-1]["since"], "memory": 2304,
    }  # fmt: skip
    ada = next(row for row in rows if row["key"].startswith("w:") and row["status"] == "running")
    ada |= {
        "locked": False,
        "sessions": [
            training,
            {**training, "id": "n", "name": "notes", "busySince": None, "state": "dormant"},
        ],
    }
    locked = next(row for row in rows if row.get("locked"))
    answers = {"api/admin/events": [made_up.stream(rows)], "api/usage": made_up.usage()}
    page = someone(camera, browser, stack, device, answers)

    def view(name: str, shown: str) -> None:
        page.go(f"{PANEL}#{name}")
        expect(page.page.get_by_text(shown).first).to_be_visible()

    page.state("panel-workspaces", partial(view, "workspaces", "ada.lovelace"))
    page.state("panel-sessions", partial(view, "sessions", "training"))
    page.state("panel-users", partial(view, "users", "ada.lovelace"))
    page.state("panel-usage", partial(view, "usage", "Largest consumers"))
    page.state("panel-audit", partial(view, "audit", "login"))
    page.state("panel-settings", partial(view, "settings", "dataDir"))
    page.state("panel-search-nothing", partial(view, "workspaces?nosuchthing", "Nothing matches"))

    def opened(row: dict[str, Any], *buttons: str) -> None:
        page.go("/hub/health")
        page.go(f"{PANEL}#workspaces?{row['owner']}")
        # The first cell: names of others may hold this one.
        page.page.locator(".rows > .row").filter(
            has_text=row["display"] if row["name"] else row["owner"]
        ).first.click()
        for button in buttons:
            page.page.get_by_role("button", name=button, exact=True).click()
        expect(page.page.get_by_role("dialog")).to_be_visible()

    page.state("panel-menu", partial(opened, ada))
    for name, button in DIALOGS:
        page.state(f"panel-{name}", partial(opened, ada, button))
    page.state("panel-menu-locked", partial(opened, locked))
    page.state("panel-ask-to-unlock", partial(opened, locked, "Ask to unlock…"))
    silent = next(row for row in rows if row.get("answers") is False)
    page.state("panel-menu-silent", partial(opened, silent))
    page.state("panel-stop-silent", partial(opened, silent, "Stop…"))

    def orphan() -> None:
        page.go("/hub/health")
        page.go(f"{PANEL}#workspaces?left.employee")
        page.page.get_by_role("row", name="left.employee").click()
        expect(page.page.get_by_role("dialog")).to_contain_text("the hub has no record")

    page.state("panel-orphan", orphan)
    page.leave()
    other_states(camera, browser, stack, device, rows)


def other_states(
    camera: Camera, browser: Browser, stack: Stack, device: str, rows: list[dict[str, Any]]
) -> None:
    """Nothing yet, nobody, refused, cut off."""
    nothing = made_up.stream([{"key": "hub", "answers": True, "since": 0}])
    away = made_up.stream([*rows[:80], {"key": "hub", "answers": False, "since": rows[-1]["since"]}])
    said = {"status": 503, "message": "The database does not answer.", "hint": "Try again in a moment."}
    refusal = {"status": 503, "text": json.dumps(said)}
    board = "api/admin/events"
    cases: tuple[tuple[str, dict[str, Any], str, str], ...] = (
        ("panel-loading", {board: [": soon\n\n"]}, "#workspaces", ".skeleton"),
        ("panel-empty", {board: [nothing]}, "#workspaces", ".nothing"),
        ("panel-hub-away", {board: [away]}, "#workspaces", ".notice.warning"),
        (
            "panel-partly-failed",
            {board: [made_up.stream(rows)], "api/usage": refusal},
            "#usage",
            "[role=alert]",
        ),
    )
    for name, answers, place, shown in cases:
        if camera.wants(name):
            at = someone(camera, browser, stack, device, answers)
            at.go(PANEL + place)
            at.state(name, at.page.locator(shown).first.wait_for)
            at.leave()
    if camera.wants("panel-forbidden"):
        ada = At(camera, browser, stack, "ada", device)
        ada.login()
        ada.state("panel-forbidden", lambda: ada.go(PANEL))
        ada.leave()


def someone(camera: Camera, browser: Browser, stack: Stack, device: str, answers: dict[str, Any]) -> At:
    """The administrator, whose panel is answered with what is made up."""
    admin = At(camera, browser, stack, "admin", device)
    admin.login(stack.admin_password)
    admin.context.add_init_script(made_up.ANSWERING % json.dumps(answers))
    return admin
