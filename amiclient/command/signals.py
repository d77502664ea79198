"""SIGINT and SIGTERM: they end the command at once, or a batch after the messages in flight."""

from __future__ import annotations

import signal
import socket
from types import FrameType
from typing import Any, Dict, Optional

_DESCRIPTIONS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}


class Interrupted(KeyboardInterrupt):
    """Raised by the handler of a signal.

    :ivar int signum: the number of the signal.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum


def describe_signal(signum: int) -> str:
    """Return "interrupted" or "terminated"."""
    return _DESCRIPTIONS[signal.Signals(signum)]


class Signals:
    """A context manager in which both signals raise :class:`Interrupted`, or are only recorded.

    A signal that is ignored, as under ``nohup`` or in the background of a shell, stays ignored.
    """

    def __init__(self) -> None:
        #: The signal received after :meth:`defer` (int), or None.
        self.signum: Optional[int] = None
        #: A socket that becomes readable when a signal is received; None before :meth:`defer`.
        self.wake: Optional[socket.socket] = None
        self._wake_writer: Optional[socket.socket] = None
        self._old_handlers: Dict[int, Any] = {}

    def __enter__(self) -> Signals:
        for signum in _DESCRIPTIONS:
            if signal.getsignal(signum) is not signal.SIG_IGN:
                self._old_handlers[signum] = signal.signal(signum, self._handle)
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._wake_writer is not None and self.wake is not None:
            signal.set_wakeup_fd(-1)
            self._wake_writer.close()
            self.wake.close()
        for signum, handler in self._old_handlers.items():
            signal.signal(signum, handler)

    def defer(self) -> None:
        """From now on record the first signal only; a second one ends the process."""
        self.wake, self._wake_writer = socket.socketpair()
        self._wake_writer.setblocking(False)
        # Unlike a handler, this also ends a wait that starts between the signal and its handler.
        signal.set_wakeup_fd(self._wake_writer.fileno(), warn_on_full_buffer=False)

    def _handle(self, signum: int, frame: Optional[FrameType]) -> None:
        if self.wake is None:
            raise Interrupted(signum)
        self.signum = signum
        for each in self._old_handlers:
            signal.signal(each, signal.SIG_DFL)
