"""The bytes of a batch by lines, bounded, and without a wait that a signal cannot end."""

from __future__ import annotations

import os

from .exits import NO_INPUT, Problem

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, List, Optional

    from .interrupts import Interrupts

#: Most bytes of a line that are kept; a message has some thousand.
MAX_LINE = 1024 * 1024

#: Seconds that the end of the input is waited for after a signal: what a program on the other side
#: of a pipe writes later was never given to this one.
_GRACE = 0.5

#: Only POSIX systems tell of a pipe or a terminal whether there is something to read.
_CAN_WAIT = os.name == "posix"

_CHUNK = 64 * 1024


class Source:
    """A file, a pipe or a terminal, read by lines.

    :param descriptor: its descriptor (int); it stays the caller's.
    :param interrupts: what ends a wait.

    Each method raises :class:`Problem` when it cannot be read.
    """

    def __init__(self, descriptor: int, interrupts: Interrupts) -> None:
        self._descriptor = descriptor
        self._interrupts = interrupts
        self._buffer = bytearray()
        self._took_end = False
        #: Whether there is nothing more to read.
        self.ended = False
        #: Bytes read so far (int).
        self.position = 0

    def has_line(self) -> bool:
        """Whether :meth:`read_line` gives a line, or the end, without a wait."""
        while self._is_short():
            if not self._is_readable(0.0):
                return False
            self._fill()
        return True

    def wait(self) -> None:
        """Wait until there is something to read, or a signal came."""
        self._is_readable(None)

    def read_line(self) -> bytes:
        """The next line with its end (bytes), empty at the end of the input.

        Of a line over MAX_LINE only so many bytes and one more are given.
        """
        line = self._take()
        while line and not self._took_end and not self.ended:
            self._take()
        return line

    def _take(self) -> bytes:
        """Drop what is there of a line, or wait for it; give its first bytes."""
        while self._is_short():
            if self._is_readable(None) or self._is_readable(_GRACE):
                self._fill()
            else:
                self.ended = True
        end = self._buffer.find(b"\n")
        self._took_end = end != -1
        size = end + 1 if self._took_end else len(self._buffer)
        line = bytes(self._buffer[: min(size, MAX_LINE + 1)])
        del self._buffer[:size]
        return line

    def _is_short(self) -> bool:
        """Whether there is less than a line, and more can come."""
        return not self.ended and b"\n" not in self._buffer and len(self._buffer) <= MAX_LINE

    def _fill(self) -> None:
        try:
            data = os.read(self._descriptor, _CHUNK)
        except OSError as error:
            raise Problem(NO_INPUT, f"the input cannot be read: {error}") from error
        self.ended = not data
        self.position += len(data)
        self._buffer += data

    def _is_readable(self, seconds: Optional[float]) -> bool:
        """Whether there are bytes or an end to read; waits so long, and no longer for a signal."""
        if not _CAN_WAIT:
            return True
        from select import select

        wake = self._interrupts.wake
        watched: List[Any] = [self._descriptor]
        if wake is not None and seconds is None:
            watched.append(wake)
        return self._descriptor in select(watched, [], [], seconds)[0]
