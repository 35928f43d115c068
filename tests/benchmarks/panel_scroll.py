"""How smooth the panel's table of 10,000 rows is: frame times in Chromium while it scrolls and rows change.

    python -m tests.benchmarks.panel_scroll [--rows 10000] [--trace FILE]

Needs the built pages (`make ui`) and Chromium; no hub: the browser is given the page and made-up rows.
On a machine that does something else besides, it measures that.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import CDPSession, Page, Route

from tests.browser.lab import DESKTOP, plain_chromium
from tests.screenshots.made_up import place

PAGES = Path(__file__).resolve().parents[2] / "share" / "persistent-terminal-hub" / "pages"
ORIGIN = "http://panel.example"
PANEL = f"{ORIGIN}/services/terminals/admin"
KINDS = {".js": "text/javascript", ".css": "text/css", ".html": "text/html"}
#: Pixels, and pixels a second, of one scroll: a fling, and a drag of the bar.
SCROLLS = {"a fling (4,000 px/s)": (16_000, 4_000), "fast (20,000 px/s)": (80_000, 20_000)}

#: The stream of rows, into which the test can put more.
STREAM = """(() => {
  const real = window.fetch, text = new TextEncoder();
  window.fetch = async (url, more) => String(url).endsWith('/api/admin/events')
    ? new Response(new ReadableStream({ start: to => { window.feed = event =>
        to.enqueue(text.encode(`event: board\\ndata: ${event}\\n\\n`)); feed(window.firstRows); } }))
    : String(url).includes('/api/') ? new Response('{"name": "admin"}') : real(url, more);
})()"""
FRAMES = """() => { window.frames_ = []; let last = performance.now();
  const box = document.querySelector('.grid').getBoundingClientRect(); window.bare_ = 0;
  const bare = y => !document.elementFromPoint(box.x + 200, y)?.closest('.rows > .row');
  const look = now => {
    frames_.push(now - last); last = now; bare_ += bare(box.y + 60) || bare(box.bottom - 20);
    window.going = requestAnimationFrame(look); };
  window.going = requestAnimationFrame(look); window.long_ = [];
  new PerformanceObserver(list => long_.push(...list.getEntries().map(e => e.duration)))
    .observe({type: 'longtask'}); }"""


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.panel_scroll")
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--slow", type=float, default=1, help="as on a processor so many times as slow")
    parser.add_argument("--trace", type=Path, help="keep a trace of the scrolls here, for about:tracing")
    options = parser.parse_args()
    dice, now = random.Random(1), time.time()
    rows = [place(f"user{n:05}", "", "default", "running", dice, now) for n in range(options.rows)]
    with plain_chromium() as browser:
        page = browser.new_page(viewport=DESKTOP)  # type: ignore[arg-type]
        page.route(f"{ORIGIN}/**", serve)
        page.add_init_script(f"window.firstRows = {json.dumps(event(rows, whole=True))}")
        page.add_init_script(STREAM)
        page.goto(f"{PANEL}#workspaces")
        page.get_by_role("row", name="user00000").wait_for()
        client = page.context.new_cdp_session(page)
        client.send("Emulation.setCPUThrottlingRate", {"rate": options.slow})
        if options.trace:
            client.send(
                "Tracing.start", {"transferMode": "ReturnAsStream", "categories": "devtools.timeline,v8"}
            )
        report("nothing", page, lambda: page.wait_for_timeout(2000))
        for name, (distance, speed) in SCROLLS.items():
            report(name, page, lambda: scroll(client, distance, speed))  # noqa: B023
        changing = [
            event([{**row, "presence": now + n} for row in dice.sample(rows, 100)]) for n in range(20)
        ]
        page.evaluate(
            "events => { let n = 0; setInterval(() => feed(events[n++ % events.length]), 500) }", changing
        )
        report("a fling, 100 rows change twice a second", page, lambda: scroll(client, 16_000, 4_000))
        print(f"rows in the page: {page.locator('.rows > .row').count()} of {options.rows}")
        if options.trace:
            options.trace.write_text(trace_of(client))


def serve(route: Route) -> None:
    """The built page and its assets."""
    name = route.request.url.removeprefix(f"{ORIGIN}/services/terminals/").partition("#")[0]
    path = PAGES / ("admin.html" if name == "admin" else name)
    if path.is_file():
        route.fulfill(body=path.read_bytes(), content_type=KINDS[path.suffix])
    else:
        route.fulfill(status=404, body="")


def event(rows: list[dict[str, Any]], whole: bool = False) -> str:
    """As the service sends it."""
    return json.dumps({"rows": rows, "gone": [], "whole": whole, "more": False})


def scroll(client: CDPSession, distance: int, speed: int) -> None:
    """As a finger or a wheel does."""
    wish = {"x": 600, "y": 500, "yDistance": -distance, "speed": speed, "gestureSourceType": "mouse"}
    client.send("Input.synthesizeScrollGesture", wish)


def report(name: str, page: Page, work: Any) -> None:
    """Frame times while something is done."""
    page.evaluate(FRAMES)
    work()
    page.evaluate("cancelAnimationFrame(going)")
    frames = sorted(page.evaluate("frames_.slice(2)"))
    long, bare = page.evaluate("[long_, bare_]")
    at = lambda part: frames[min(len(frames) - 1, int(len(frames) * part))]  # noqa: E731
    print(
        f"{name}: {len(frames)} frames, p50 {at(0.5):.1f} ms, p95 {at(0.95):.1f} ms, p99 {at(0.99):.1f} ms, "
        f"longest {frames[-1]:.1f} ms; tasks over 50 ms: {len(long)}; frames with rows missing: {bare}",
        flush=True,
    )


def trace_of(client: CDPSession) -> str:
    """The trace, as text."""
    done: list[dict[str, Any]] = []
    client.once("Tracing.tracingComplete", lambda event: done.append(event))
    client.send("Tracing.end")
    while not done:
        client.send(
            "Runtime.evaluate",
            {"expression": "new Promise(done => setTimeout(done, 50))", "awaitPromise": True},
        )
    parts = []
    while True:
        part = client.send("IO.read", {"handle": done[0]["stream"], "size": 1 << 20})
        parts.append(part["data"])
        if part["eof"]:
            return "".join(parts)


if __name__ == "__main__":
    main()
