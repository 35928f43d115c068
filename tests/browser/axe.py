"""axe-core on a page as it stands: what would keep somebody out."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Page

AXE = Path(__file__).resolve().parents[2] / "ui" / "node_modules" / "axe-core" / "axe.min.js"


def no_serious_violation(page: Page, selector: str = "") -> None:
    """Fails with the rules that are broken, where, and how; of what `selector` names, else of all."""
    if not page.evaluate("() => 'axe' in window"):
        page.evaluate(AXE.read_text())
    found = page.evaluate("async within => (await axe.run(within || document)).violations", selector)
    serious = [
        f"{rule['id']}: {[(node['html'][:200], node['failureSummary']) for node in rule['nodes']]}"
        for rule in found
        if rule["impact"] in ("serious", "critical")
    ]
    assert not serious, f"{page.url}\n" + "\n".join(serious)
