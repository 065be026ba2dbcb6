"""What the machine calls itself."""

from __future__ import annotations

import platform
import sys
from functools import lru_cache


@lru_cache(maxsize=1)
def processor() -> str:
    """Return the processor's name as the system gives it, or its kind."""
    if sys.platform == "linux":
        try:
            with open("/proc/cpuinfo", encoding="utf-8") as file:
                names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
            return names[0] if names else platform.machine()
        except OSError:
            pass
    return platform.processor() or platform.machine()
