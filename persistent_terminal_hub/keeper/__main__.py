"""``python -m persistent_terminal_hub.keeper``."""

import sys

from persistent_terminal_hub.keeper.main import main

if __name__ == "__main__":
    sys.exit(main())
