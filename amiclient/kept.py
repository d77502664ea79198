"""Events that nobody has asked for yet: bounded in number and in bytes, with the gap told."""

from __future__ import annotations

from collections import deque

from .errors import EventOverflow

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Deque, Optional, Union

    from amiproto import Event, Orphan, Response

    #: What a server sends unasked; each has ``name`` and ``headers``.
    Unasked = Union[Event, Response, Orphan]

#: Events kept while nobody asks for them; at some kilobytes each, tens of megabytes at the most.
MAX_EVENTS = 10_000

#: Bytes of them, as they came. Asterisk's events have one or two thousand; what is bigger by far
#: was made to be, and by whom is not known.
MAX_EVENT_BYTES = 32 * 1024 * 1024


class KeptEvents:
    """Events in order.

    :param max_events: most that are kept (int).
    :param max_bytes: most bytes of them (int).
    """

    def __init__(self, max_events: int, max_bytes: int) -> None:
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._events: Deque[Unasked] = deque()
        self._bytes = 0
        self._lost = 0  # how many came after the last that is kept

    def __bool__(self) -> bool:
        return bool(self._events or self._lost)

    def add(self, event: Unasked) -> None:
        """Keep an event, if there is room."""
        # None after a gap is kept, so that the gap is told where it is.
        size = self._bytes + len(event.wire)
        if self._lost or len(self._events) >= self._max_events or size > self._max_bytes:
            self._lost += 1
        else:
            self._events.append(event)
            self._bytes = size

    def take(self) -> Optional[Unasked]:
        """The oldest event, or None.

        :raises EventOverflow: where some were lost, once.
        """
        if self._events:
            event = self._events.popleft()
            self._bytes -= len(event.wire)
            return event
        if self._lost:
            lost, self._lost = self._lost, 0
            raise EventOverflow(
                f"{lost} events were lost, as over {self._max_events} of them, or over "
                f"{self._max_bytes} bytes, came and nobody asked; ask more often, or for fewer",
                limit=self._max_events,
                actual=lost,
            )
        return None
