"""`python -m persistent_terminal_hub.culler`."""

import sys

from persistent_terminal_hub.culler.app import main

sys.exit(main())
