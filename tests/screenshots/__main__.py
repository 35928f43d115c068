"""`make screenshots`: every page and state, light and dark, on a desktop, a tablet and (hub pages) a phone.

    python -m tests.screenshots [--out FOLDER] [--only REGEX] [--devices 1280,820] [--docs]

Into .cache/screenshots, with contact sheets (`sheet-*.png`). `--docs` also renews the pictures of the
documentation. Whatever could not be taken is named at the end, and the exit status is 1.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.browser.lab import NO_WEBGL, chromium
from tests.integration.control_fixtures import Person, answers
from tests.screenshots import hub_pages, panel, terminals
from tests.screenshots.camera import Camera
from tests.support.stack import PASSWORD, Stack, wait_for

ROOT = Path(__file__).resolve().parents[2]
#: Name in docs/images: the picture.
DOCS = {
    "home": "home-1280-light",
    "home-new": "home-new-1280-light",
    "lock-page": "lock-page-1280-light",
    "terminal-page": "terminal-1280-dark",
    "terminal-page-tablet": "terminal-820-light",
    "lab": "lab-1280-light",
    "panel": "panel-workspaces-1280-light",
    "panel-usage": "panel-usage-1280-dark",
    "panel-end": "panel-end-1280-light",
}
LONG = "Everything that was ever measured in the northern plant, with all corrections up to last week"


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(prog="python -m tests.screenshots")
    parser.add_argument("--out", type=Path, default=ROOT / ".cache" / "screenshots")
    parser.add_argument("--only", default="", help="pictures whose name matches this")
    parser.add_argument("--devices", default="1280,820,320")
    parser.add_argument("--docs", action="store_true", help="renew docs/images, too")
    options = parser.parse_args()
    camera = Camera(options.out.resolve(), options.only)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="pth-shots-") as folder:
        photograph(camera, Path(folder), options.devices.split(","))
    if options.docs:
        for name, picture in DOCS.items():
            source = camera.out / f"{picture}.png"
            if source.exists():
                shutil.copy(source, ROOT / "docs" / "images" / f"{name}.png")
            else:
                camera.missed.append(f"docs/images/{name}.png: there is no {picture}")
    print(f"{len(camera.taken)} pictures in {camera.out}, {time.monotonic() - began:.0f} s")
    for missed in camera.missed:
        print(f"missed {missed}", file=sys.stderr)
    return 1 if camera.missed else 0


def photograph(camera: Camera, folder: Path, devices: list[str]) -> None:
    """Start an installation, furnish it, and walk through it on each device."""
    docker = subprocess.run(["docker", "version"], capture_output=True, check=False).returncode == 0
    image = os.environ.get("PTH_TEST_IMAGE", "")
    workspace = {"memory": "1G", "maxMemory": "4G", "cpu": 1, "maxCpu": 2} | (
        {"image": image} if image else {}
    )
    settings = {"culler": {"enabled": False}, "workspace": workspace, "session": {"ttlSeconds": 36_000}}
    stack = Stack(folder, backend="docker" if docker else "process", settings=settings)
    try:
        stack.start()
        silent = furnish(stack)
        hub_pages.pending_page(stack)  # and with it the running workspace of somebody else
        with chromium(stack, NO_WEBGL) as browser:
            for device in devices:
                hub_pages.before_login(camera, browser, stack, device)
                hub_pages.home(camera, browser, stack, device)
                hub_pages.starting(camera, browser, stack, device)
                hub_pages.locked(camera, browser, stack, device)
                panel.pictures(camera, browser, stack, device)
                terminals.terminal_page(camera, browser, stack, device)
                terminals.lock_over_pages(camera, browser, stack, device)
            if camera.wants("hub-away", "lock-page-hub-away"):
                stack.take_hub_away()
                for device in devices:
                    hub_pages.hub_away(camera, browser, stack, device)
                stack.bring_hub_back()
            camera.sheets(browser)
        if silent:
            stack.docker("unpause", silent)
    finally:
        stack.stop()
        stack.remove_everything()


def furnish(stack: Stack) -> str:
    """People and their workspaces; the container that is paused, if there are containers."""
    for user in ("ada", "neo", "alan"):
        stack.add_user(user)
    form = {"username": "newcomer", "signup_password": PASSWORD, "signup_password_confirmation": PASSWORD}
    stack.post(stack.session(), "/hub/signup", form)
    wait_for(lambda: answers(stack), 30, "the service answers")
    ada, admin = Person(stack, "ada"), Person(stack, "admin", stack.admin_password)
    names = {"": "", "spring": "Spring campaign", "arabic": "تجربة الربيع", "northern": LONG}
    for name, display in names.items():
        path = f"/users/ada/servers/{name}" if name else "/users/ada/server"
        stack.api(ada.browser, "POST", path, json={"display_name": display} if name else None)
    for name in names:
        wait_for(lambda: ready(stack, ada, name), 90, f"{name} is ready")  # noqa: B023
    argv = ["bash", "--norc", "-ic"]
    sessions: list[dict[str, object]] = [
        {"name": "training", "argv": [*argv, terminals.TRAINING]},
        {"name": "etl", "argv": ["bash", "-c", "echo 1204 rows; exit 3"]},
        {"name": "notes"},
        {"name": "compare-all-models-of-last-winter-again", "argv": [*argv, "sleep 90000; true"]},
    ]  # fmt: skip
    for body in sessions:
        answer = ada.inside("POST", "sessions", {"rows": 30, "cols": 110, **body})
        assert answer.status_code == 201, answer.text
    assert ada.inside("POST", "sessions", {"name": "report"}, "spring").status_code == 201
    stack.api(ada.browser, "DELETE", "/users/ada/servers/arabic")
    for path, body in (
        ("lock", {"reason": "The office is closed."}),
        ("unlock-request", {"message": "the licence server moves at six"}),
    ):
        answer = admin.ask("POST", f"workspaces/ada~spring/{path}", body)
        assert answer.ok, answer.text
    silent = stack.container("ada", "northern") if stack.backend == "docker" else ""
    if silent:
        stack.docker("pause", silent)
    return silent


def ready(stack: Stack, person: Person, name: str) -> bool:
    """Whether a workspace is."""
    model = stack.api(person.browser, "GET", f"/users/{person.name}").json()
    return bool(model["servers"].get(name, {}).get("ready"))


if __name__ == "__main__":
    sys.exit(main())
