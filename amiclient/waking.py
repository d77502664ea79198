"""A pair of sockets by which one thread wakes up another that waits for a connection."""

from __future__ import annotations

import socket


class Waker:
    """Something to wait for beside a connection, that any thread can set off.

    It closes when nobody has it any more, and not before: a thread that is about to write to it
    must not find its number given to another file.
    """

    def __init__(self) -> None:
        self._inner, self._outer = socket.socketpair()
        self._inner.setblocking(False)
        self._outer.setblocking(False)

    def fileno(self) -> int:
        """The number of the descriptor that is readable once :meth:`wake` was called (int)."""
        return self._inner.fileno()

    def wake(self) -> None:
        """Wake up whoever waits now, or whoever waits next."""
        try:
            self._outer.send(b"\0")
        except OSError:
            pass  # full of calls that nobody has heeded yet

    def clear(self) -> None:
        """Take all calls up to now as heeded, of which there is one at the least."""
        self._inner.recv(4096)

    def __del__(self) -> None:
        self._inner.close()
        self._outer.close()
