"""What this host has, and how much of it jobs may use."""

import math
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from bacalhau.model.resources import Resources, parse_bytes, parse_cpu, parse_gpu


def detect(directory: Path) -> Resources:
    """All of the host: usable cores, memory, free disk where work directories lie."""
    return Resources(
        cpu=len(os.sched_getaffinity(0)) * 1000,
        memory=_memory_bytes(),
        disk=shutil.disk_usage(directory).free,
    )


def _memory_bytes() -> int:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for limit in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            text = Path(limit).read_text().strip()
        except OSError:
            continue
        if text.isdigit():
            total = min(total, int(text))
    return total


def share(host: Resources, *, cpu: str, memory: str, disk: str, gpu: str) -> Resources:
    """The part of the host that is given to jobs: `80%` of it, or an amount.

    Raises ValueError for text that is neither.
    """
    return Resources(
        cpu=_part(cpu, host.cpu, parse_cpu),
        memory=_part(memory, host.memory, lambda text: parse_bytes(text, "memory")),
        disk=_part(disk, host.disk, lambda text: parse_bytes(text, "disk")),
        gpu=_part(gpu, host.gpu, parse_gpu, whole=True),
    )


def _part(text: str, of: int, parse: Callable[[str], int], *, whole: bool = False) -> int:
    if not text:
        return of
    if text.strip().endswith("%"):
        percent = float(text.strip()[:-1])
        if not 0 <= percent <= 100:
            raise ValueError(f"'{text}' is not a share between 0% and 100%")
        exact = of * percent / 100
        return math.ceil(exact) if whole else int(exact)
    return parse(text)
