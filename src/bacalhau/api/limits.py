"""How often one address may ask: a token bucket each, in a bounded table."""

MAX_ADDRESSES = 10_000
"""Buckets that are remembered; the one not used for longest goes first."""


class Rate:
    """`per_second` requests on average and in one burst; 0 means no limit."""

    def __init__(self, per_second: int) -> None:
        self._per_second = per_second
        self._buckets: dict[str, tuple[float, float]] = {}

    def allow(self, address: str, now_s: float) -> bool:
        """Take a token of that address's bucket; False when it is empty."""
        if not self._per_second:
            return True
        left, then = self._buckets.pop(address, (float(self._per_second), now_s))
        left = min(float(self._per_second), left + (now_s - then) * self._per_second)
        allowed = left >= 1
        if len(self._buckets) >= MAX_ADDRESSES:
            # A dict keeps the order of insertion: the first was not used for longest.
            del self._buckets[next(iter(self._buckets))]
        self._buckets[address] = (left - 1 if allowed else left, now_s)
        return allowed
