"""Where and with what a step ran: kept beside its numbers, never compared."""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any


def environment(*, device: str, origin: Mapping[str, Any]) -> dict[str, Any]:
    """Versions, machine, device, where data and model come from, and the time (UTC)."""
    import torch

    name = torch.cuda.get_device_name() if device.startswith("cuda") else processor()
    return {
        "prunery": library_version(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "device": device,
        "device_name": name,
        **origin,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }


@lru_cache(maxsize=1)
def processor() -> str:
    """The processor's name as the system gives it, or its kind."""
    if sys.platform == "linux":
        try:
            with open("/proc/cpuinfo", encoding="utf-8") as file:
                names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
            return names[0] if names else platform.machine()
        except OSError:
            pass
    return platform.processor() or platform.machine()


def library_version() -> str:
    """Return the version of this library that is installed here."""
    try:
        return version("prunery")
    except PackageNotFoundError:
        return "unknown"
