"""The page of a locked workspace: plain HTML that needs no script, no image and no other file. Pure."""

from __future__ import annotations

import base64
import hashlib
import html
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from .lock_rules import LockState
from .notice import STYLE as NOTICE_STYLE

#: Seconds after which a browser without scripts looks again.
LOOK_AGAIN: Final = 30

CSS: Final = """
:root{color-scheme:light dark;--ground:#f8f9fa;--card:#fff;--text:#212529;--quiet:#565e64;--line:#dee2e6;
--button:#256ca3;--on:#fff;--warn:#8a4b00;--ring:#256ca3}
@media (prefers-color-scheme:dark){:root{--ground:#212529;--card:#2b3035;--text:#dee2e6;--quiet:#adb5bd;
--line:#495057;--button:#84b9e2;--on:#10131a;--warn:#f0b35c;--ring:#84b9e2}}
*{box-sizing:border-box}
body{margin:0;min-height:100vh;display:flex;align-items:center;justify-content:center;padding:1.5rem;
background:var(--ground);color:var(--text);font:1rem/1.5 system-ui,-apple-system,"Segoe UI",sans-serif}
main{width:100%;max-width:34rem;background:var(--card);border:1px solid var(--line);border-radius:.75rem;
padding:2rem}
h1{margin:0 0 .25rem;font-size:1.5rem;line-height:1.25}
.name{margin:0 0 1.25rem;color:var(--quiet);overflow-wrap:anywhere}
p{margin:.75rem 0}
.warn{border-left:.25rem solid var(--warn);padding-left:.75rem}
.do{margin:1.5rem 0 0;display:flex;gap:.75rem;flex-wrap:wrap}
a{color:var(--button)}
.button{display:inline-block;padding:.6rem 1.1rem;border-radius:.5rem;border:1px solid var(--button);
font-weight:600;text-decoration:none}
.first{background:var(--button);color:var(--on)}
a:focus-visible{outline:3px solid var(--ring);outline-offset:3px}
.quiet{color:var(--quiet);font-size:.9rem}
"""

# Comes back by itself when the workspace was opened in another tab, or the hub is there again.
_SCRIPT: Final = """
(()=>{const d=document.documentElement.dataset,t=document.querySelector('time');
if(t)t.textContent=new Date(t.dateTime).toLocaleString();
let wait=5000;const look=async()=>{try{const r=await fetch(d.status,{cache:'no-store',credentials:'omit'});
const s=await r.json();if(s.locked===false||(d.known==='no'&&r.ok)||
(d.hub!=='none'&&String(s.hubReachable)!==d.hub))return location.reload();
wait=document.hidden?30000:Math.min(wait*1.2,15000)}catch(e){wait=Math.min(wait*2,30000)}
setTimeout(look,wait)};if(d.status)setTimeout(look,wait)})();
"""


def _hash(text: str) -> str:
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"


#: Nothing but what stands in the page itself; the notice's own style is one of its attributes.
POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        f"style-src {_hash(CSS)} 'unsafe-hashes' {_hash(NOTICE_STYLE)}",
        f"script-src {_hash(_SCRIPT)}",
        "connect-src 'self'",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)

HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": POLICY,
    "Content-Type": "text/html; charset=utf-8",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "X-Robots-Tag": "noindex",
}


@dataclass(frozen=True, slots=True)
class Place:
    """Whose page it is and where its links lead. Paths begin with a slash."""

    workspace: str  # as in PTH_WORKSPACE_ID: `user/server name`
    base_url: str  # of this server
    hub_path: str  # of the hub, with a slash at its end; empty: there is no hub

    def login(self, next_: str) -> str:
        """The hub's page for a fresh login."""
        # With its owner: an administrator who looks at it is not sent to a workspace of their own.
        name = quote(self.workspace, safe="")
        return f"{self.hub_path}reauth?workspace={name}&next={quote(next_, safe='')}"

    @property
    def status(self) -> str:
        """What tells whether it is still locked."""
        return self.base_url + "persistent-terminals/api/status"


def lock_page(place: Place, state: LockState, next_: str, hub: bool | None, refusal: str = "") -> str:
    """The page. `hub`: whether the hub answers (None: there is none); `refusal`: why it was not opened."""
    since = f'<time datetime="{state.since_text}">{_readable(state)}</time>' if state.since_text else ""
    locked = f"Locked since {since}." if since else "It is locked."
    parts = [
        f'<p class="warn" role="alert"><strong>{_text(refusal)}</strong> It stays locked.</p>'
        if refusal
        else "",
        f"<p>{locked} {_text(state.why)}</p>",
        f'<p class="warn" role="note"><bdi>{_text(state.asked)}</bdi></p>' if state.asked else "",
        "<p>Your programs go on running, and what they print is kept. Nothing is shown and nothing can be "
        "typed until you log in again.</p>",
    ]
    again = f'<a class="button{{}}" href="{_text(next_)}">Try again</a>'
    login = f'<a class="button{{}}" id="login" href="{_text(place.login(next_))}">Log in again</a>'
    if hub is False:
        parts.append(
            '<p class="warn" role="status"><strong>The hub does not answer,</strong> and only a login there '
            "opens this workspace. It stays locked until then; this page looks again by itself.</p>"
        )
        parts.append(f'<p class="do">{again.format(" first")}{login.format("")}</p>')
    elif hub is None:
        parts.append(f'<p class="do">{again.format(" first")}</p>')
    else:
        parts.append(f'<p class="do">{login.format(" first")}</p>')
    return _page(place, "This workspace is locked", parts, hub)


def refusal_page(place: Place, next_: str, refusal: str) -> str:
    """The page of an unlock that was refused while there is nothing to unlock."""
    parts = [
        f'<p class="warn" role="alert"><strong>{_text(refusal)}</strong></p>',
        "<p>The workspace is open.</p>",
        f'<p class="do"><a class="button first" href="{_text(next_)}">Go to the workspace</a></p>',
    ]
    return _page(place, "This unlock was refused", parts, None, looks=False)


def unknown_page(place: Place, next_: str, starting: bool = False) -> str:
    """The page while nobody knows whether it is locked. `starting`: nor did anybody ever."""
    parts = [
        '<p role="status">Its server is starting.</p>'
        if starting
        else '<p class="warn" role="status">The keeper of this workspace, which holds its lock, does not '
        "answer. Until it does, the workspace stays closed.</p>",
        "<p>Your programs go on running. This page looks again by itself; if that does not help, stop and "
        "start the workspace at the hub.</p>",
        f'<p class="do"><a class="button first" href="{_text(next_)}">Try again</a></p>',
    ]
    title = "This workspace is starting" if starting else "This workspace is not ready"
    return _page(place, title, parts, None, known="no", again=LOOK_AGAIN // 6)


def _page(
    place: Place,
    title: str,
    parts: list[str],
    hub: bool | None,
    *,
    known: str = "yes",
    again: int = LOOK_AGAIN,
    looks: bool = True,
) -> str:
    seen = "none" if hub is None else str(hub).lower()
    name = f'<p class="name">{_text(place.workspace.rstrip("/"))}</p>' if place.workspace else ""
    body = "\n".join(part for part in parts if part)
    status = f'data-status="{_text(place.status)}" data-hub="{seen}" data-known="{known}"' if looks else ""
    refresh = f'<noscript><meta http-equiv="refresh" content="{again}"></noscript>' if looks else ""
    return f"""<!DOCTYPE html>
<html lang="en" {status}>
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1">
{refresh}
<link rel="icon" href="data:,">
<title>{_text(title)}</title>
<style>{CSS}</style>
</head>
<body>
<main>
<h1>{_text(title)}</h1>
{name}
{body}
</main>
<script>{_SCRIPT}</script>
</body>
</html>
"""


def _text(text: str) -> str:
    return html.escape(text, quote=True)


def _readable(state: LockState) -> str:
    return (state.since_text or "").replace("T", " ").replace("Z", " UTC")
