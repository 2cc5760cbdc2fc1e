"""Amounts of CPU, memory, disk and GPU, and the spellings users give them."""

import re
from decimal import Decimal, InvalidOperation

from bacalhau.model.base import Record

_UNITS = {"": 1}
for _power, _letter in enumerate("kmgtpe", start=1):
    for _suffix in (_letter, _letter + "b"):
        _UNITS[_suffix] = 1000**_power
    for _suffix in (_letter + "i", _letter + "ib"):
        _UNITS[_suffix] = 1024**_power
_UNITS["b"] = 1
_AMOUNT = re.compile(r"([0-9][0-9,]*(?:\.[0-9]*)?|\.[0-9]+)([a-z]*)")
_MAX_BYTES = 2**63 - 1


class ResourcesConfig(Record, kw_only=True):
    """What a task asks for, as the user writes it; empty means the default."""

    cpu: str = ""
    memory: str = ""
    disk: str = ""
    gpu: str = ""


class Resources(Record, kw_only=True):
    """Amounts: `cpu` in millicores, `memory` and `disk` in bytes, `gpu` in whole devices."""

    cpu: int = 0
    memory: int = 0
    disk: int = 0
    gpu: int = 0

    def __add__(self, other: "Resources") -> "Resources":
        return Resources(
            cpu=self.cpu + other.cpu,
            memory=self.memory + other.memory,
            disk=self.disk + other.disk,
            gpu=self.gpu + other.gpu,
        )

    def __sub__(self, other: "Resources") -> "Resources":
        """What is left; never below zero, so over-use shows as nothing left."""
        return Resources(
            cpu=max(0, self.cpu - other.cpu),
            memory=max(0, self.memory - other.memory),
            disk=max(0, self.disk - other.disk),
            gpu=max(0, self.gpu - other.gpu),
        )

    def lacks(self, wanted: "Resources") -> str:
        """The first kind of which this holds less than `wanted`, spelt out; '' if it suffices."""
        if wanted.cpu > self.cpu:
            return f"CPU: {wanted.cpu}m wanted, {self.cpu}m there"
        if wanted.memory > self.memory:
            return f"memory: {wanted.memory} bytes wanted, {self.memory} there"
        if wanted.disk > self.disk:
            return f"disk: {wanted.disk} bytes wanted, {self.disk} there"
        if wanted.gpu > self.gpu:
            return f"GPU: {wanted.gpu} wanted, {self.gpu} there"
        return ""

    def fits(self, wanted: "Resources") -> bool:
        """True when this holds at least `wanted` of every kind."""
        return (
            wanted.cpu <= self.cpu
            and wanted.memory <= self.memory
            and wanted.disk <= self.disk
            and wanted.gpu <= self.gpu
        )


def parse_cpu(text: str) -> int:
    """Millicores: `500m` -> 500, `0.25` -> 250, `2` -> 2000. Raises ValueError."""
    given = text.strip().lower()
    try:
        amount = Decimal(int(given[:-1])) if given.endswith("m") else Decimal(given) * 1000
        if not amount.is_finite() or amount < 0 or amount > 10**9:
            raise ValueError
    except (InvalidOperation, ValueError):
        raise ValueError(f"CPU '{text}' is not an amount such as '500m', '0.5' or '2'") from None
    return int(amount)


def parse_bytes(text: str, kind: str = "memory") -> int:
    """Bytes: `512mb` -> 512 000 000, `1gib` -> 1 073 741 824, `1.5g`, `4096`. Raises ValueError.

    `k m g t p e` are decimal, `ki mi gi ...` binary, as in Bacalhau; `512m` is 512 MB.
    """
    given = re.sub(r"\s", "", text).lower()
    found = _AMOUNT.fullmatch(given)
    if not found or found[2] not in _UNITS:
        raise ValueError(f"{kind} '{text}' is not an amount such as '512mb', '1gib' or '4096'")
    amount = int(Decimal(found[1].replace(",", "")) * _UNITS[found[2]])
    if amount > _MAX_BYTES:
        raise ValueError(f"{kind} '{text}' is more than {_MAX_BYTES} bytes")
    return amount


def parse_gpu(text: str) -> int:
    """Whole devices. Raises ValueError."""
    given = text.strip()
    if not given.isascii() or not given.isdigit() or len(given) > 6:
        raise ValueError(f"GPU '{text}' is not a whole number")
    return int(given)


def parse(config: ResourcesConfig) -> Resources:
    """The amounts a config asks for; empty fields are 0. Raises ValueError naming the field."""
    return Resources(
        cpu=parse_cpu(config.cpu) if config.cpu else 0,
        memory=parse_bytes(config.memory, "memory") if config.memory else 0,
        disk=parse_bytes(config.disk, "disk") if config.disk else 0,
        gpu=parse_gpu(config.gpu) if config.gpu else 0,
    )
