"""Whose turn it is on a connection that threads share: first come, first served.

Not a lock of :mod:`threading`: an exception of a signal handler can strike between the taking of
such a lock and the ``try`` that follows, or between a ``with`` block's last step and its exit, and
leaves it taken. Here a turn is an object of its call: to give it back twice does no harm, and to
give it back without having it neither, so that a call can clean up wherever it was interrupted.
"""

from __future__ import annotations

from _thread import allocate_lock, get_ident
from collections import deque
from typing import Callable, Deque, Dict, Optional

from ._transport import Deadline, Expired

#: The one key of the dictionary that holds who has the turn: its ``setdefault`` is atomic.
_HOLDER = "holder"


class LockTimeout(Expired):
    """The deadline passed while other calls had the connection."""


class Claim:
    """One call's claim to the connection.

    :param give_way: for a call that only listens: asks it, from another thread, to give the
        connection up.
    """

    __slots__ = ("thread", "give_way", "_bell")

    def __init__(self, give_way: Optional[Callable[[], None]] = None) -> None:
        self.thread = get_ident()
        self.give_way = give_way
        self._bell = allocate_lock()

    def ring(self) -> None:
        """Wake whoever waits for this turn up; once more changes nothing."""
        try:
            self._bell.release()
        except RuntimeError:
            pass  # it was rung already

    def wait(self, seconds: Optional[float]) -> None:
        """Wait to be rung; None waits for ever."""
        self._bell.acquire(timeout=-1 if seconds is None else seconds)


class FairLock:
    """The turns on one client, in one process."""

    def __init__(self) -> None:
        self._holder: Dict[str, Claim] = {}
        self._waiting: Deque[Claim] = deque()

    @property
    def wanted(self) -> bool:
        """Whether a call waits for its turn that does more than to listen."""
        return any(turn.give_way is None for turn in list(self._waiting))

    def has(self, turn: Claim) -> bool:
        """Whether this is the turn that has the connection."""
        return self._holder.get(_HOLDER) is turn

    def is_in_call(self, thread: int) -> bool:
        """Whether a thread has the turn or waits for it."""
        return any(turn.thread == thread for turn in [*self._holder.values(), *self._waiting])

    def take(self, turn: Claim, deadline: Deadline) -> None:
        """Wait for a turn; :meth:`give_back` has to follow, whatever happened.

        :raises LockTimeout: when the deadline passes first.
        """
        holder = self._holder
        if not self._waiting and holder.setdefault(_HOLDER, turn) is turn:
            return
        turn.wait(0)  # so that the next wait lasts until it is rung
        self._waiting.append(turn)
        while self._waiting[0] is not turn or holder.setdefault(_HOLDER, turn) is not turn:
            other = holder.get(_HOLDER)
            if other is not None and other.give_way is not None and turn.give_way is None:
                other.give_way()
            left = deadline.remaining()
            if left == 0.0:
                raise LockTimeout
            turn.wait(left)
        self._waiting.remove(turn)

    def give_back(self, turn: Claim) -> None:
        """End a turn, or the wait for it, and wake up whose turn it is then."""
        if self.has(turn):
            del self._holder[_HOLDER]
        if self._waiting:
            if turn in self._waiting:
                self._waiting.remove(turn)
            try:
                self._waiting[0].ring()
            except IndexError:
                pass  # it waited alone, or the other waits no more
