"""Where and with what a step ran: kept beside its numbers, never compared."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from prunery.machine import processor


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


def library_version() -> str:
    """Return the version of this library that is installed here."""
    try:
        return version("prunery")
    except PackageNotFoundError:
        return "unknown"
