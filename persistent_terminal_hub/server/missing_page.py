"""The page for an address that a workspace does not have.

As a rule it was meant for another workspace: while a named one is stopped, its address belongs to the default
one, whose Jupyter server would answer "404: Not Found" and leave the person there.
"""

from __future__ import annotations

import html
from typing import Any

from jinja2 import ChoiceLoader, DictLoader

from .lock_page import CSS, Place


def template(place: Place) -> str:
    """In place of Jupyter's `404.html`; `message` is what a handler said, if one did."""
    name = html.escape(place.workspace.rstrip("/"))
    home, lab = html.escape(f"{place.hub_path}home"), html.escape(f"{place.base_url}lab")
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1">
<link rel="icon" href="data:,">
<title>There is no such page here</title>
<style>{{% raw %}}{CSS}{{% endraw %}}</style>
</head>
<body>
<main>
<h1>There is no such page here</h1>
<p class="name">{{% raw %}}{name}{{% endraw %}}</p>
{{% if message %}}<p>{{{{ message | e }}}}</p>{{% endif %}}
<p>This workspace has nothing at this address. If it is the address of another workspace of yours, that one is
not running, or was deleted: your workspaces are on the hub's home page, and can be started there.</p>
<p class="do"><a class="button first" href="{{% raw %}}{home}{{% endraw %}}">To your workspaces</a>
<a class="button" href="{{% raw %}}{lab}{{% endraw %}}">Open JupyterLab</a></p>
</main>
</body>
</html>
"""


def set_up(settings: dict[str, Any], place: Place) -> None:
    """Only where there is a hub to lead to."""
    env = settings.get("jinja2_env")
    if env is not None and place.hub_path:
        env.loader = ChoiceLoader([DictLoader({"404.html": template(place)}), env.loader])
