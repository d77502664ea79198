"""The one deadline of a call, made when it starts, so that no step starts the clock again."""

from __future__ import annotations

from time import monotonic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional

#: Seconds from which on a timeout is as good as none: 23 days, and poll() cannot wait for 25.
ENDLESS = 2_000_000.0


class Expired(Exception):
    """The deadline has passed; for the layers above to turn into what it means there."""


class Deadline:
    """A point in time that every step of a call looks at.

    :param timeout: seconds from now (float), or None for none.
    """

    __slots__ = ("_end", "_passed")

    def __init__(self, timeout: Optional[float]) -> None:
        endless = timeout is None or timeout >= ENDLESS
        self._end = None if timeout is None or endless else monotonic() + timeout
        self._passed = False

    def postpone(self, seconds: float) -> None:
        """Add seconds (float) in which the caller did something else."""
        if self._end is not None:
            self._end += seconds

    def remaining(self) -> Optional[float]:
        """Seconds left (float, never below 0), or None for no limit."""
        if self._end is None:
            return None
        left = self._end - monotonic()
        return left if left > 0.0 else 0.0

    def next_wait(self) -> Optional[float]:
        """As :meth:`remaining`, for one wait of many; gives 0 only once.

        What has come by then is taken, but a peer that never stops to send cannot go on.

        :raises Expired: when there was no time left for the wait before this one.
        """
        if self._passed:
            raise Expired
        left = self.remaining()
        self._passed = left == 0.0
        return left
