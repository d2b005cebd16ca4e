"""Health check of the images: exit with 0 if an address answers with status 200."""

from __future__ import annotations

import sys
import urllib.request
from http.client import HTTPException

# Without the proxy that the engine may have set for the container.
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
try:
    with opener.open(sys.argv[1], timeout=4) as response:
        sys.exit(response.status != 200)
except HTTPException:
    sys.exit(f"{sys.argv[1]}: the answer is not HTTP")
except (OSError, ValueError) as error:
    sys.exit(f"{sys.argv[1]}: {error}")
