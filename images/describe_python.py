"""Runs in the image: print what decides which wheels fit its Python, as JSON."""

import json
import os
import platform
import sys

print(
    json.dumps(
        {
            "full_version": platform.python_version(),
            "implementation": platform.python_implementation(),
            "machine": platform.machine(),
            "system": platform.system(),
            "platform": sys.platform,
            "glibc": os.confstr("CS_GNU_LIBC_VERSION").split()[1],
        }
    )
)
