"""Runs JupyterHub as `python -m jupyterhub` does, in half the time until it answers.

Half of JupyterHub's imports is one grammar: `rfc3987_syntax` parses it anew in each process, for the
JSON schema formats `iri` and `iri-reference`, which no schema of JupyterHub uses. jsonschema does without
it where it is not installed. A hub that was killed is away for that much shorter.
"""

from __future__ import annotations

import sys
from typing import Any, cast


def main() -> None:
    """Start the hub with this process's arguments."""
    # An import of a name that stands for None raises ImportError.
    cast(dict[str, Any], sys.modules).setdefault("rfc3987_syntax", None)
    from jupyterhub.app import main as jupyterhub

    jupyterhub()


if __name__ == "__main__":
    main()
