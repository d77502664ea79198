"""Actions of which some byte has not left yet, and how they are cut into writes.

What is in here has not been sent: the server carries nothing out before it has the last byte.
"""

from __future__ import annotations

from collections import deque

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Deque, Tuple


class Outbox:
    """A queue of actions, oldest first.

    :param is_tls: whether each write becomes a record of TLS. Then there is one for each line:
        Asterisk polls the socket and not the TLS layer, so that over 1024 bytes of one record wait
        for the next (11.25, 16.28, 22.10). And one for the last CR, and one for the last LF: the
        read of Asterisk 11, of up to 1023 bytes, runs across records, and where it ends between
        the two, the LF would wait inside the TLS layer.
    """

    def __init__(self, is_tls: bool) -> None:
        self._is_tls = is_tls
        self._queue: Deque[Tuple[str, bytes]] = deque()
        self._offset = 0  # bytes of the oldest that have left

    def __bool__(self) -> bool:
        return bool(self._queue)

    def __contains__(self, action_id: str) -> bool:
        return any(queued == action_id for queued, _ in self._queue)

    def put(self, action_id: str, wire: bytes) -> None:
        """Append an action."""
        self._queue.append((action_id, wire))

    def piece(self) -> bytes:
        """What to write next, in one write."""
        first = self._queue[0][1]
        start = self._offset
        if self._is_tls:
            end = first.find(b"\n", start) + 1
            if end == len(first) and end - start == 2:
                end -= 1
            return first[start:end]
        if len(self._queue) == 1:
            return first[start:]
        return b"".join([wire for _, wire in self._queue])[start:]

    def took(self, count: int) -> None:
        """Note that so many bytes (int) of :meth:`piece` have left."""
        self._offset += count
        while self._queue and self._offset >= len(self._queue[0][1]):
            self._offset -= len(self._queue.popleft()[1])

    def take_back(self, action_id: str) -> bool:
        """Take an action out; say whether a part of it has left, so that the rest is missed."""
        for index, (queued, _) in enumerate(self._queue):
            if queued == action_id:
                del self._queue[index]
                return index == 0 and self._offset > 0
        raise KeyError(action_id)
