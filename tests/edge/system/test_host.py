from __future__ import annotations

from pathlib import Path

import pytest

from maskedge.system import host


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_raspberry_pi(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        {
            "proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0\0",
            "proc/cpuinfo": "processor\t: 0\nCPU part\t: 0xd0b\n",
            "proc/meminfo": "MemTotal:        8245000 kB\n",
            "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
            "sys/class/thermal/thermal_zone0/temp": "61234\n",
            "sys/class/thermal/thermal_zone1/type": "battery\n",
            "sys/class/thermal/thermal_zone1/temp": "90000\n",
            "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "2400000\n",
            "sys/devices/system/cpu/cpu1/cpufreq/scaling_cur_freq": "1500000\n",
            "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "ondemand\n",
            "sys/devices/platform/soc/soc:firmware/get_throttled": "50005\n",
        },
    )
    assert host.host_model(root) == "Raspberry Pi 5 Model B Rev 1.0"
    assert host.processor_name(root) == "Cortex-A76"
    assert host.temperature_c(root) == pytest.approx(61.234)
    assert host.frequency_mhz(root) == 1950.0
    assert host.cpu_governor(root) == "ondemand"
    assert host.throttling(root) == host.Throttling(("under_voltage", "throttled"), ("under_voltage", "throttled"))
    assert host.total_memory_mb(root) == pytest.approx(8051.8)


def test_x86_laptop(tmp_path: Path) -> None:
    supply = "sys/class/power_supply"
    root = write(
        tmp_path,
        {
            "proc/cpuinfo": "model name\t: Some CPU\ncpu MHz\t\t: 1000.0\ncpu MHz\t\t: 3000.0\n",
            "sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count": "3\n",
            "sys/devices/system/cpu/cpu1/thermal_throttle/core_throttle_count": "4\n",
            f"{supply}/AC/type": "Mains\n",
            f"{supply}/BAT0/type": "Battery\n",
            f"{supply}/BAT0/status": "Charging\n",
            f"{supply}/mouse/type": "Battery\n",
            f"{supply}/mouse/scope": "Device\n",
            f"{supply}/mouse/status": "Discharging\n",
        },
    )
    assert host.host_model(root) == "Some CPU"
    assert host.frequency_mhz(root) == 2000.0
    assert host.throttling(root) == host.Throttling(events=7)
    assert host.on_battery(root) is False
    write(root, {f"{supply}/BAT0/status": "Discharging\n"})
    assert host.on_battery(root) is True


def test_jetson_power_mode(tmp_path: Path) -> None:
    assert host.power_mode(tmp_path) is None
    write(tmp_path, {"etc/nv_tegra_release": "# R36", "var/lib/nvpmodel/status": "pmode:0002"})
    assert host.power_mode(tmp_path) == "mode 2"


def test_a_machine_that_tells_nothing(tmp_path: Path) -> None:
    readers = (
        host.temperature_c, host.frequency_mhz, host.cpu_governor, host.throttling, host.on_battery,
        host.power_mode, host.memory_mb, host.peak_memory_mb, host.total_memory_mb,
    )  # fmt: skip
    assert [reader(tmp_path) for reader in readers] == [None] * len(readers)
    write(tmp_path, {"sys/devices/platform/soc/soc:firmware/get_throttled": "no number"})
    assert host.throttling(tmp_path) is None
    assert host.processor_name(tmp_path)


def test_this_machine_answers() -> None:
    facts, state = host.host_facts(), host.host_state()
    assert facts["cores"] > 0
    assert "CPUExecutionProvider" in facts["providers"]
    assert set(state) >= {"temperature_c", "throttled_now", "load", "on_battery", "frequency_mhz", "governor"}
    assert (host.memory_mb() or 1) > 0
