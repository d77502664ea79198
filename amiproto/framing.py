"""Bytes to stanzas, one reader for each direction: where a stanza ends, and what is too long.

Apart from the messages because a reader knows nothing of headers: it cuts, it counts, and it goes
over each byte once, however the bytes arrive.
"""

from __future__ import annotations

import re

from .errors import RemoteProtocolError
from .limits import MAX_ACTION_LINES, MAX_BANNER, SERVER_INPUT_BUFFER
from .messages import END_COMMAND, FOLLOWS, LINE_TOO_LONG, TOO_MANY_LINES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List, Optional, Tuple, Union

_LF, _CR = 0x0A, 0x0D

#: How a stanza ends whose lines end in LF. One search for either kind of blank line: to look for
#: each would go over all that waits for the kind that is not there, stanza by stanza.
_LF_STANZA_END = re.compile(b"\n\r?\n")

#: Most bytes cut ahead at once: a chunk as sockets give them. What is behind an unusual stanza is
#: cut again when more bytes have come, so that the cost of one has to be bounded.
_AHEAD = 64 * 1024


class StanzaReader:
    """Cuts what a server sends.

    A stanza whose first line ends in CR LF, as all of Asterisk's do, ends at CR LF CR LF: a bare
    LF or CR inside it belongs to a value. One whose first line ends in LF alone ends at a blank
    line of either kind. The raw text of a command (:data:`FOLLOWS`) ends at ``--END COMMAND--``.

    :param max_line: most bytes between two LF.
    :param max_stanza: most bytes of a stanza, its blank line included.
    """

    def __init__(self, max_line: int, max_stanza: int) -> None:
        self._max_line = max_line
        self._max_stanza = max_stanza
        # A stanza of no more bytes than this, blank line included, breaks no limit.
        self._unchecked = min(max_line, max_stanza)
        self._ahead = min(_AHEAD, self._unchecked)
        self._buffer = bytearray()
        self._start = 0  # of the stanza that is being read
        self._searched = 0  # no end of a stanza starts before here
        self._line = 0  # start of the first line whose length is not checked yet
        # Whether the stanza that comes next was seen to be unusual since the last bytes came.
        self._unusual = False
        #: Whether no stanza ends, and no limit is passed, before a line ends or so many bytes wait.
        self.is_idle = True
        self._idle_up_to = self._unchecked
        #: Whether raw text of commands is to be expected: up to Asterisk 13, whose AMI is below 3.
        self.legacy = True

    def __len__(self) -> int:
        """Bytes that wait: unread stanzas, and the start of one that is not complete."""
        return len(self._buffer) - self._start

    def feed(self, data: bytes) -> int:
        """Take bytes as they came, and return how many waited before them."""
        self._unusual = False
        buffer = self._buffer
        start = self._start
        if start:
            del buffer[:start]
            self._line -= start
            self._searched -= start
            self._start = 0
        waited = len(buffer)
        buffer += data
        if self.is_idle and (buffer.find(_LF, waited) >= 0 or len(buffer) > self._idle_up_to):
            self.is_idle = False
        return waited

    def sole(self, data: bytes) -> Optional[bytes]:
        """The stanza *without* its blank line that data is, where nothing waits, and data is bytes
        that :meth:`cut_ahead` would cut into just this one; or None, and nothing was taken."""
        if (
            self._start == len(self._buffer)
            and type(data) is bytes
            and 0 < data.find(b"\r\n\r\n") == len(data) - 4
            and len(data) <= self._ahead
        ):
            return data[:-4]
        return None

    def next_banner(self) -> Optional[bytes]:
        """The first line with its end, or None while it is incomplete.

        :raises RemoteProtocolError: when it is longer than a banner can be.
        """
        end = self._buffer.find(_LF, 0, MAX_BANNER + 1)
        if end < 0:
            if len(self._buffer) > MAX_BANNER:
                raise RemoteProtocolError(
                    f"the first line has over {MAX_BANNER} bytes: this is no Asterisk Manager "
                    "Interface; check host and port",
                    limit=MAX_BANNER,
                )
            return None
        self._start = self._line = self._searched = end + 1
        return bytes(self._buffer[: end + 1])

    def cut_ahead(self) -> List[bytes]:
        """The next complete stanzas, *without* their blank lines, where that can be told fast.

        One search cuts all that lies between two CR LF CR LF. Whether a piece is a stanza is for
        the caller to see: its first line must end in CR LF, be not empty, hold no LF, and not
        start the raw text of a command. Pieces from the first on for which that does not hold go
        back with :meth:`leave`, for :meth:`next_stanza`.
        """
        start = self._start
        if self._unusual or self._searched != start:
            return []
        buffer = self._buffer
        end = buffer.rfind(b"\r\n\r\n", start, start + self._ahead) + 4
        if end < 4:
            return []
        pieces = bytes(buffer[start:end]).split(b"\r\n\r\n")
        end -= len(pieces.pop())  # a surplus line end, or nothing
        self._start = self._line = self._searched = end
        self.is_idle = end == len(buffer)
        self._idle_up_to = self._unchecked
        return pieces

    def leave(self, pieces: List[bytes]) -> None:
        """Take back the last pieces that were cut ahead."""
        self._unusual = True
        self.is_idle = False
        size = sum(map(len, pieces)) + 4 * len(pieces)
        self._start = self._line = self._searched = self._start - size

    def next_stanza(self) -> Optional[bytes]:
        """The next stanza with its blank line, or None while it is incomplete.

        :raises RemoteProtocolError: when a line or the stanza is over its limit, complete or not.
        """
        buffer = self._buffer
        start = self._start
        first = buffer.find(_LF, start)
        while 0 <= first - start < 2 and (first == start or buffer[start] == _CR):
            start = self._start = self._line = self._searched = first + 1  # a surplus blank line
            first = buffer.find(_LF, start)
        if first < 0:
            end = -1
        elif buffer[first - 1] != _CR:
            end = _end_of_lf_stanza(buffer, max(first, self._searched))
        else:
            text = self.legacy and buffer.startswith(FOLLOWS, start)
            end = _behind(buffer, END_COMMAND if text else b"\r\n\r\n", self._searched)
        if end < 0:
            # An end may have come in part. END_COMMAND is the longest of the ends.
            self._searched = max(start, len(buffer) - len(END_COMMAND) + 1)
            if len(buffer) - self._line > self._max_line:
                self._check(len(buffer))
            elif len(buffer) - start > self._max_stanza:
                raise self._stanza_too_long()
            self.is_idle = True
            self._idle_up_to = min(self._line - start + self._max_line, self._max_stanza)
            return None
        if end - start > self._unchecked:
            self._check(end)
        self._start = self._line = self._searched = end
        return bytes(buffer[start:end])

    def ends_there(self, wire: bytes) -> bool:
        """Whether a stanza that starts as :data:`FOLLOWS` does is read whole, and no further."""
        return _behind(wire, END_COMMAND if self.legacy else b"\r\n\r\n", 0) == len(wire)

    def _check(self, end: int) -> None:
        # Whatever comes first in the stream is the error, so that it does not depend on how
        # the stream was cut.
        last = self._start + self._max_stanza
        while True:
            line_end = self._buffer.find(_LF, self._line, end)
            size = (end if line_end < 0 else line_end) - self._line
            if size > self._max_line and self._line + self._max_line <= last:
                raise RemoteProtocolError(
                    f"the server sent a line of over {self._max_line} bytes; close the connection",
                    limit=self._max_line,
                )
            if line_end < 0 or line_end > last:
                break
            self._line = line_end + 1
        if end > last:
            raise self._stanza_too_long()

    def _stanza_too_long(self) -> RemoteProtocolError:
        return RemoteProtocolError(
            f"the server sent a stanza of over {self._max_stanza} bytes; close the connection",
            limit=self._max_stanza,
        )


def _behind(buffer: Union[bytes, bytearray], end: bytes, start: int) -> int:
    found = buffer.find(end, start)
    return found if found < 0 else found + len(end)


def _end_of_lf_stanza(buffer: bytearray, start: int) -> int:
    found = _LF_STANZA_END.search(buffer, start)
    return -1 if found is None else found.end()


class ActionReader:
    """Cuts what a client sends, as the server's own input loop does, its surprises included.

    Each LF ends a line. Of 1024 bytes without an LF all but the last are dropped, the stanza is
    answered with :data:`LINE_TOO_LONG`, and that last byte with what follows it counts as a line of
    its own: where that is a CR and its LF, it ends the stanza early, and the lines behind it are
    read as another action. Lines beyond 128 are lost and the stanza is answered with
    :data:`TOO_MANY_LINES`. (Asterisk 16.28 and 22.10.)
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._position = 0
        self._lines: List[bytes] = []
        self._lost = False
        self._too_long = False

    def __len__(self) -> int:
        """Bytes that wait: unread stanzas, and the start of one that is not complete."""
        return len(self._buffer) - self._position + sum(map(len, self._lines))

    def feed(self, data: bytes) -> int:
        """Take bytes as they came, and return how many waited before them."""
        waited = len(self)
        del self._buffer[: self._position]
        self._position = 0
        self._buffer += data
        return waited

    def next_stanza(self) -> Optional[Tuple[bytes, Optional[str]]]:
        """The next stanza with its blank line, and None or the reason why it cannot be read."""
        buffer = self._buffer
        while True:
            start = self._position
            end = buffer.find(_LF, start, start + SERVER_INPUT_BUFFER) + 1
            if not end:
                if len(buffer) - start < SERVER_INPUT_BUFFER:
                    return None
                # The last byte stays: it may be the CR of a line end.
                self._position = start + SERVER_INPUT_BUFFER - 1
                self._too_long = True
                continue
            self._position = end
            line = bytes(buffer[start:end])
            if line not in (b"\r\n", b"\n") and line[0]:
                if len(self._lines) < MAX_ACTION_LINES:
                    self._lines.append(line)
                else:
                    self._lost = True
                continue
            wire = b"".join(self._lines) + line
            reason = None
            if self._lost:  # tested first by the server, which then still remembers a long line
                reason = TOO_MANY_LINES
            elif self._too_long:
                reason = LINE_TOO_LONG
                self._too_long = False
            self._lost = False
            self._lines.clear()
            return wire, reason
