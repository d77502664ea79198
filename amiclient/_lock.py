"""A fair lock for the threads that share a connection, safe against signal handlers.

Calls get it in the order in which they asked for it, except that a call which only listens for
events releases it as soon as another call waits (``on_contention``).

A lock of :mod:`threading` is not enough: if a signal handler raises between the acquisition and the
following ``try``, or while a ``with`` block exits, the lock stays held. Here each call has a
:class:`Waiter`, and :meth:`FairLock.release` does nothing if that waiter neither holds the lock nor
waits for it. A call can therefore always release, however often and wherever it was interrupted.
"""

from __future__ import annotations

from _thread import allocate_lock, get_ident
from collections import deque
from typing import Callable, Deque, Dict, Optional

from ._transport import Deadline, Expired

#: The only key of the dictionary with the holder: ``setdefault`` acquires the lock atomically.
_HOLDER = "holder"


class LockTimeout(Expired):
    """The deadline passed while other calls held the lock."""


class Waiter:
    """A call that waits for the lock or holds it.

    :param on_contention: for a call that only listens: a function that any other thread may call to
        make it release the lock. None for a call that keeps the lock until it is done.
    """

    __slots__ = ("thread", "on_contention", "_bell")

    def __init__(self, on_contention: Optional[Callable[[], None]] = None) -> None:
        self.thread = get_ident()
        self.on_contention = on_contention
        self._bell = allocate_lock()

    def notify(self) -> None:
        """Wake this waiter; several calls count as one."""
        try:
            self._bell.release()
        except RuntimeError:
            pass  # it was notified already

    def wait(self, seconds: Optional[float]) -> None:
        """Wait for :meth:`notify`, for at most the given time; None waits without limit."""
        self._bell.acquire(timeout=-1 if seconds is None else seconds)


class FairLock:
    """A lock that is granted first come, first served."""

    def __init__(self) -> None:
        self._holder: Dict[str, Waiter] = {}
        self._waiting: Deque[Waiter] = deque()

    def has_waiters(self) -> bool:
        """Return True if a call waits that does more than listen."""
        return any(waiter.on_contention is None for waiter in list(self._waiting))

    def is_held_by(self, waiter: Waiter) -> bool:
        """Return True if the waiter holds the lock."""
        return self._holder.get(_HOLDER) is waiter

    def is_used_by(self, thread: int) -> bool:
        """Return True if a call of the thread holds the lock or waits for it."""
        return any(waiter.thread == thread for waiter in [*self._holder.values(), *self._waiting])

    def acquire(self, waiter: Waiter, deadline: Deadline) -> None:
        """Acquire the lock; :meth:`release` must follow, even after an exception.

        :raises LockTimeout: if the deadline passes first.
        """
        holder = self._holder
        if not self._waiting and holder.setdefault(_HOLDER, waiter) is waiter:
            return
        waiter.wait(0)  # from here on, wait() lasts until notify()
        self._waiting.append(waiter)
        while self._waiting[0] is not waiter or holder.setdefault(_HOLDER, waiter) is not waiter:
            current = holder.get(_HOLDER)
            if current is not None and current.on_contention and waiter.on_contention is None:
                current.on_contention()
            remaining = deadline.remaining()
            if remaining == 0.0:
                raise LockTimeout
            waiter.wait(remaining)
        self._waiting.remove(waiter)

    def release(self, waiter: Waiter) -> None:
        """Release the lock, or stop waiting for it, and wake the next waiter."""
        if self.is_held_by(waiter):
            del self._holder[_HOLDER]
        if self._waiting:
            if waiter in self._waiting:
                self._waiting.remove(waiter)
            try:
                self._waiting[0].notify()
            except IndexError:
                pass  # the last one has stopped waiting
