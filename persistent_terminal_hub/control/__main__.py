"""`python -m persistent_terminal_hub.control`."""

import sys

from persistent_terminal_hub.control.app import main

sys.exit(main())
