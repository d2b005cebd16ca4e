"""Facts about the host and its current state.

Every reader returns None if the host does not report the value. The argument `root` is `/`, or in
tests a folder with the same layout.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maskedge.support.workers import child_environment

ROOT = Path("/")

_THROTTLE_BITS = ("under_voltage", "frequency_capped", "throttled", "soft_temperature_limit")
"""Names of the lowest bits of a Raspberry Pi's `get_throttled`. The bits from 16 on report, in the
same order, the conditions that occurred since boot."""

_ARM_CORES = {
    "0xd03": "Cortex-A53", "0xd05": "Cortex-A55", "0xd07": "Cortex-A57", "0xd08": "Cortex-A72", "0xd0a": "Cortex-A75",
    "0xd0b": "Cortex-A76", "0xd41": "Cortex-A78", "0xd42": "Cortex-A78AE",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Throttling:
    """Throttling of the host.

    Attributes:
        now: Active conditions, of `under_voltage`, `frequency_capped`, `throttled` and
            `soft_temperature_limit`.
        since_start: Conditions that were active at some time since boot.
        events: Number of times an x86 core was throttled for its temperature since boot; None on
            other hosts.
    """

    now: tuple[str, ...] = ()
    since_start: tuple[str, ...] = ()
    events: int | None = None


def host_model(root: Path = ROOT) -> str:
    """Return the model of the board (Raspberry Pi, Jetson) or, elsewhere, of the processor."""
    board = _text(root / "proc/device-tree/model")
    return board.rstrip("\0") if board else processor_name(root)


def processor_name(root: Path = ROOT) -> str:
    """Return the model of the processor."""
    facts = _text(root / "proc/cpuinfo") or ""
    found = re.search(r"^model name\s*:\s*(.+)$", facts, re.MULTILINE)
    if found:
        return found[1]
    part = re.search(r"^CPU part\s*:\s*(\S+)$", facts, re.MULTILINE)
    return _ARM_CORES.get(part[1], f"ARM {part[1]}") if part else platform.processor() or "unknown processor"


def temperature_c(root: Path = ROOT) -> float | None:
    """Return the temperature of the processor in degrees Celsius.

    This is the temperature of the hottest zone of the processor. If no zone is named after a
    processor, it is that of the hottest zone of all.
    """
    zones: list[tuple[str, float]] = []
    for zone in _find(root / "sys/class/thermal", "thermal_zone*"):
        value = _number(zone / "temp")
        if value is not None:
            zones.append((_text(zone / "type") or "", value / 1000))
    own = [value for kind, value in zones if re.search(r"cpu|soc|pkg|core", kind, re.IGNORECASE)]
    return max(own or [value for _, value in zones], default=None)


def frequency_mhz(root: Path = ROOT) -> float | None:
    """Return the mean frequency of the cores in MHz."""
    paths = _find(root / "sys/devices/system/cpu", "cpu[0-9]*/cpufreq/scaling_cur_freq")
    values = [value / 1000 for path in paths if (value := _number(path)) is not None]
    if not values:
        values = [float(text) for text in re.findall(r"^cpu MHz\s*:\s*([\d.]+)$", _text(root / "proc/cpuinfo") or "", re.MULTILINE)]
    return round(sum(values) / len(values), 1) if values else None


def cpu_governor(root: Path = ROOT) -> str | None:
    """Return the policy that sets the processor's frequency, such as `ondemand` or `performance`."""
    return _text(root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")


def throttling(root: Path = ROOT) -> Throttling | None:
    """Return the throttling state.

    The state comes from the firmware of a Raspberry Pi, or from the core counters of an x86
    processor.
    """
    word = _text(root / "sys/devices/platform/soc/soc:firmware/get_throttled")
    if word is None and root == ROOT and shutil.which("vcgencmd"):
        word = (_output("vcgencmd", "get_throttled") or "").removeprefix("throttled=").strip() or None
    if word is not None:
        try:
            return decode_throttled(int(word, 16))
        except ValueError:
            return None
    counters = _find(root / "sys/devices/system/cpu", "cpu[0-9]*/thermal_throttle/*_throttle_count")
    counts = [value for path in counters if (value := _number(path)) is not None]
    return Throttling(events=int(sum(counts))) if counts else None


def decode_throttled(bits: int) -> Throttling:
    """Decode the bits printed by `vcgencmd get_throttled` on a Raspberry Pi."""
    now = tuple(name for bit, name in enumerate(_THROTTLE_BITS) if bits >> bit & 1)
    return Throttling(now, tuple(name for bit, name in enumerate(_THROTTLE_BITS) if bits >> (16 + bit) & 1))


def on_battery(root: Path = ROOT) -> bool | None:
    """Return True while a battery powers the host. The battery of a mouse does not count."""
    known = None
    for supply in _find(root / "sys/class/power_supply", "*"):
        if _text(supply / "type") == "Battery" and _text(supply / "scope") != "Device":
            if _text(supply / "status") == "Discharging":
                return True
            known = False
    return known


def power_mode(root: Path = ROOT) -> str | None:
    """Return the power mode of a Jetson, such as `MAXN`."""
    if not (root / "etc/nv_tegra_release").exists():
        return None
    printed = _output("nvpmodel", "-q") if root == ROOT and shutil.which("nvpmodel") else None
    named = re.search(r"NV Power Mode:\s*(.+)", printed or "")
    if named:
        return named[1].strip()
    number = re.search(r"pmode:0*(\d+)", _text(root / "var/lib/nvpmodel/status") or "")
    return f"mode {number[1]}" if number else None


def load_average() -> float | None:
    """Return the load average of the last minute."""
    try:
        return round(os.getloadavg()[0], 2)
    except OSError:
        return None


def memory_mb(root: Path = ROOT) -> float | None:
    """Return the resident memory of this process in megabytes."""
    return _status_mb("VmRSS", root)


def peak_memory_mb(root: Path = ROOT) -> float | None:
    """Return the peak resident memory of this process in megabytes."""
    return _status_mb("VmHWM", root)


def total_memory_mb(root: Path = ROOT) -> float | None:
    """Return the memory of the host in megabytes."""
    found = re.search(r"^MemTotal:\s*(\d+) kB", _text(root / "proc/meminfo") or "", re.MULTILINE)
    return round(int(found[1]) / 1024, 1) if found else None


def host_facts() -> dict[str, Any]:
    """Return model, cores, system, and the versions of the libraries that determine the speed."""
    import cv2
    import numpy as np
    import onnxruntime

    return {
        "machine": host_model(),
        "processor": processor_name(),
        "architecture": platform.machine(),
        "cores": os.cpu_count() or 1,
        "memory_mb": total_memory_mb(),
        "system": f"{platform.system()} {platform.release()}",
        "distribution": _distribution(),
        "power_mode": power_mode(),
        "python": platform.python_version(),
        "opencv": cv2.__version__,
        "onnxruntime": onnxruntime.__version__,
        "providers": onnxruntime.get_available_providers(),
        "numpy": np.__version__,
    }


def host_state() -> dict[str, Any]:
    """Return the current state of the host. Values that it does not report are None."""
    slowed = throttling()
    return {
        "governor": cpu_governor(),
        "frequency_mhz": frequency_mhz(),
        "temperature_c": temperature_c(),
        "throttled_now": None if slowed is None else list(slowed.now),
        "throttled_since_start": None if slowed is None else list(slowed.since_start),
        "throttle_events": None if slowed is None else slowed.events,
        "on_battery": on_battery(),
        "load": load_average(),
    }


def _distribution() -> str | None:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return None


def _status_mb(key: str, root: Path) -> float | None:
    found = re.search(rf"^{key}:\s*(\d+) kB", _text(root / "proc/self/status") or "", re.MULTILINE)
    return round(int(found[1]) / 1024, 1) if found else None


def _find(folder: Path, pattern: str) -> list[Path]:
    try:
        return sorted(folder.glob(pattern))
    except OSError:  # too many open files, for example
        return []


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None


def _number(path: Path) -> float | None:
    try:
        return float(_text(path) or "")
    except ValueError:
        return None


def _output(*command: str) -> str | None:
    """Return the output of a system tool that finishes quickly."""
    try:
        done = subprocess.run(  # noqa: S603  (fixed words)
            command, capture_output=True, text=True, timeout=2, check=False, env=child_environment()
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout if done.returncode == 0 else None
