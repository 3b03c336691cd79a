"""How often something may be tried, with an exact answer to "when again?" and bounded memory.

The generic cell rate algorithm: of each key one number is kept, the time at which all that was taken will be worn off.
A burst is allowed at once, then one more for each `seconds / burst` that passes.
"""

from __future__ import annotations

from collections.abc import Hashable

import msgspec

KEYS_MAX = 50_000
SWEPT_KEYS_MIN = 1_000
"""So many keys are kept without a look at whether they still matter."""

ROUNDING_SECONDS = 1e-6  # what adding up fractions of a second may be off by


class Rate(msgspec.Struct, frozen=True):
    """`burst` tries at once, and as many again in every `seconds`."""

    burst: int
    seconds: float


class RateLimiter:
    """Tries per key. A key whose tries have all worn off is as good as none and is forgotten, at the latest when
    another one comes `seconds` after the last look at all of them; up to `SWEPT_KEYS_MIN` may stay. When more matter
    than there is room for, the one that began longest ago is forgotten; a key's own tries never make it older, so it
    cannot be pushed out by itself."""

    def __init__(self, rate: Rate, *, keys_max: int = KEYS_MAX) -> None:
        self._step = rate.seconds / rate.burst
        self._tolerance = rate.seconds - self._step
        self._keys_max = keys_max
        self._worn_off_at: dict[Hashable, float] = {}
        self._seconds = rate.seconds
        self._swept_at = 0.0

    def admit(self, key: Hashable, now: float) -> float:
        """Count one try if it is allowed, and return 0; else how long until it would be."""
        worn_off_at = self._worn_off_at.get(key)
        if worn_off_at is None:
            self.take(key, now)
        elif (wait := worn_off_at - self._tolerance - now) > ROUNDING_SECONDS:
            return wait
        else:  # the hot path: somebody who goes on, below the limit
            self._worn_off_at[key] = (worn_off_at if worn_off_at > now else now) + self._step
        return 0.0

    def wait_seconds(self, key: Hashable, now: float) -> float:
        """How long until the next try is allowed; 0 when it is now. Takes nothing."""
        return max(0.0, self._worn_off_at.get(key, now) - self._tolerance - now)

    def take(self, key: Hashable, now: float) -> None:
        """Count one try, allowed or not."""
        if key not in self._worn_off_at:
            count = len(self._worn_off_at)
            if count >= self._keys_max or (count >= SWEPT_KEYS_MIN and now - self._swept_at >= self._seconds):
                self._sweep(now)
        # A try beyond the limit is refused by whoever asked `wait_seconds`; it must not push the end ever further away.
        self._worn_off_at[key] = min(
            max(self._worn_off_at.get(key, now), now) + self._step, now + self._tolerance + self._step
        )

    def forget(self, key: Hashable) -> None:
        """Start this key afresh."""
        self._worn_off_at.pop(key, None)

    def _sweep(self, now: float) -> None:
        self._worn_off_at = {key: at for key, at in self._worn_off_at.items() if at > now}
        if len(self._worn_off_at) >= self._keys_max:
            # A tenth at once, so that a flood of new keys does not sweep the table for each of them.
            for key in list(self._worn_off_at)[: max(1, self._keys_max // 10)]:
                del self._worn_off_at[key]
        self._swept_at = now

    def __len__(self) -> int:
        return len(self._worn_off_at)
