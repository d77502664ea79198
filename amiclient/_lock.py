"""A fair lock for the threads that share a connection, which no exception can leave held.

A signal handler can raise between any two bytecodes, also in a ``finally`` block that releases a
lock. A claim to this lock therefore belongs to the call that made it: a claim that was not released
is void as soon as the frame of its call has ended.
"""

from __future__ import annotations

from _thread import allocate_lock, get_ident
from types import FrameType
from typing import Callable, Dict, Optional

from ._transport import Deadline, Expired
from .exceptions import ReentrantCall

#: Seconds after which a waiting call checks again whether the calls before it still run.
_CHECK_INTERVAL = 0.05


class LockTimeout(Expired):
    """The deadline passed while other calls held the lock."""


class Claim:
    """The claim of one call to a :class:`FairLock`.

    :param on_contention: for a call that only listens: a function that any other thread may call to
        make it release the lock. None for a call that keeps the lock until it is done.
    """

    __slots__ = ("on_contention", "thread", "frame", "bell")

    def __init__(self, on_contention: Optional[Callable[[], None]] = None) -> None:
        self.on_contention = on_contention
        self.thread = get_ident()
        #: The frame that has to be executing while the claim is valid; None if it is not.
        self.frame: Optional[FrameType] = None
        #: Released to wake the call while it waits for the lock.
        self.bell = allocate_lock()

    def is_running(self) -> bool:
        """Return False if the claim was released, or its call has ended without releasing it."""
        if self.frame is None:
            return False
        try:
            # Only an executing frame refuses. A finished one may be alive in a traceback.
            self.frame.clear()
        except (AttributeError, RuntimeError):  # AttributeError: released meanwhile
            return self.frame is not None
        return False


class FairLock:
    """A lock that is granted first come, first served."""

    def __init__(self) -> None:
        # In the order of arrival; the first one that still runs holds the lock. Adding and removing
        # a key is atomic.
        self._claims: Dict[Claim, None] = {}

    def has_waiters(self) -> bool:
        """Return True if a call that does more than listen waits for the lock."""
        return any(claim.on_contention is None for claim in list(self._claims)[1:])

    def is_held(self) -> bool:
        """Return True if a call holds the lock."""
        return any(claim.is_running() for claim in list(self._claims))

    def acquire(self, claim: Claim, deadline: Deadline) -> None:
        """Acquire the lock for a claim with a frame; raise LockTimeout at the deadline.

        :raises ReentrantCall: if the thread is in a call that holds the lock or waits for it.
        """
        for other in list(self._claims):
            if other.thread == claim.thread and other.is_running():
                raise ReentrantCall(
                    "called from a signal handler or __del__ during another call of the same "
                    "thread; nothing was sent"
                )
        self._claims[claim] = None
        while True:
            claims = list(self._claims)
            while claims[0] is not claim and not claims[0].is_running():
                self._claims.pop(claims.pop(0), None)
            holder = claims[0]
            if holder is claim:
                return
            if holder.on_contention is not None and claim.on_contention is None:
                holder.on_contention()
            seconds = deadline.remaining()
            if seconds == 0.0:
                self.release(claim)
                raise LockTimeout
            claim.bell.acquire(timeout=min(_CHECK_INTERVAL, seconds or _CHECK_INTERVAL))

    def release(self, claim: Claim) -> None:
        """Release the lock, or stop waiting for it, and wake the next call."""
        claim.frame = None
        self._claims.pop(claim, None)
        for other in list(self._claims)[:1]:
            try:
                other.bell.release()
            except RuntimeError:
                pass  # it does not wait yet, or was woken already
