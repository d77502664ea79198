"""The one deadline of a call: apart, so that no step of a call can start the clock again."""

from __future__ import annotations

from time import monotonic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional


class Deadline:
    """A point in time that every step of a call looks at.

    :param timeout: seconds from now (float), or None for none.
    """

    __slots__ = ("_end",)

    def __init__(self, timeout: Optional[float]) -> None:
        self._end = None if timeout is None else monotonic() + timeout

    def remaining(self) -> Optional[float]:
        """Seconds left (float, never below 0), or None for no limit."""
        if self._end is None:
            return None
        left = self._end - monotonic()
        return left if left > 0.0 else 0.0
