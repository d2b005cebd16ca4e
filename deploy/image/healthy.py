"""Health check of the images: exit with 0 if an address answers with status 200."""

from __future__ import annotations

import sys
import urllib.request

try:
    with urllib.request.urlopen(sys.argv[1], timeout=4) as response:  # noqa: S310  (an address of this container)
        sys.exit(response.status != 200)
except OSError as error:
    sys.exit(f"{sys.argv[1]}: {error}")
