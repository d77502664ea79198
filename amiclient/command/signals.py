"""SIGINT and SIGTERM: at once for one text, at the next message for a batch."""

from __future__ import annotations

import signal
import socket
from types import FrameType
from typing import Any, Dict, Optional

_NAMES = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}


class Interrupted(KeyboardInterrupt):
    """A signal ended what was going on.

    :ivar int signum: its number.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum


def word(signum: int) -> str:
    """What a signal does, in one word (str)."""
    return _NAMES[signal.Signals(signum)]


class Signals:
    """A ``with`` block in which the two signals raise :class:`Interrupted`, or are only noted.

    A signal that is ignored, as by ``nohup`` or in the background of a shell, stays ignored.
    """

    def __init__(self) -> None:
        #: The signal that came while it was only to be noted (int), or None.
        self.signum: Optional[int] = None
        #: A socket that can be read from once a signal came; only after :meth:`note`.
        self.wake: Optional[socket.socket] = None
        self._waker: Optional[socket.socket] = None
        self._before: Dict[int, Any] = {}

    def __enter__(self) -> Signals:
        for signum in _NAMES:
            if signal.getsignal(signum) is not signal.SIG_IGN:
                self._before[signum] = signal.signal(signum, self._take)
        return self

    def __exit__(self, *reason: object) -> None:
        if self._waker is not None and self.wake is not None:
            signal.set_wakeup_fd(-1)
            self._waker.close()
            self.wake.close()
        for signum, handler in self._before.items():
            signal.signal(signum, handler)

    def note(self) -> None:
        """From now on only note the first signal; a second one ends the process."""
        import socket

        self.wake, self._waker = socket.socketpair()
        self._waker.setblocking(False)
        # Unlike a handler, this wakes up a wait that begins between the signal and its handler.
        signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)

    def _take(self, signum: int, frame: Optional[FrameType]) -> None:
        if self.wake is None:
            raise Interrupted(signum)
        self.signum = signum
        for each in self._before:
            signal.signal(each, signal.SIG_DFL)
