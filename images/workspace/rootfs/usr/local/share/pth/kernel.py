"""Start a notebook kernel with the Python of the user's virtual environment.

Notebooks see what `pip install` put into /workspace/.venv. The kernel program itself (ipykernel) comes
from the environment if it has one, else from the server's own packages, which are searched last: a
package of the user always wins, and pip and Python in a terminal see nothing of the server's.
"""

import importlib.util
import runpy
import sys
from pathlib import Path

SERVER = Path("/opt/pth/lib") / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"

# This script's directory is nothing that a notebook should import from.
del sys.path[0]
if importlib.util.find_spec("ipykernel") is None:
    if not SERVER.is_dir():
        sys.exit(
            f"No notebook kernel for Python {sys.version_info[0]}.{sys.version_info[1]}: "
            "run `pip install ipykernel` in a terminal of this workspace, then start the kernel again."
        )
    sys.path.append(str(SERVER))
runpy.run_module("ipykernel_launcher", run_name="__main__", alter_sys=True)
