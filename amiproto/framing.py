"""Linear-time readers that split a byte stream into stanzas, without parsing headers.

:class:`StanzaReader` reads what a server sends, :class:`ActionReader` what a client sends.
"""

from __future__ import annotations

import re
from collections import deque
from typing import Deque, Dict, List, Optional, Tuple, Union

from ._text import to_text
from .exceptions import RemoteProtocolError
from .limits import MAX_ACTION_LINES, MAX_BANNER, SERVER_INPUT_BUFFER

#: The number of pending commands by ActionID; None for commands without an ActionID.
Commands = Dict[Optional[str], int]

#: The end of a stanza from a server: a line end and a blank line. Lines end in CR LF, because
#: values can contain a bare CR or LF. The blank line can be an LF alone: Asterisk 18.19 and 20.4
#: write the items of CoreShowChannelMap so (by its issue tracker).
_STANZA_END = re.compile(rb"\r\n(?:\r\n|\n)")

#: The number of bytes that are split into stanzas at once, within the limits of a reader.
_BATCH = 64 * 1024

#: The start of raw command output before Asterisk 14 (seen on 11.25): these two lines, then the
#: ActionID if the action had one, then the output. Later versions send an ordinary stanza.
FOLLOWS = b"Response: Follows\r\nPrivilege: Command\r\n"

#: The end of raw command output: this line and a blank line (11.25).
END_COMMAND = b"--END COMMAND--\r\n\r\n"

#: Asterisk's error message for a line over its input buffer (16.28 and 22.10; 11 by its source).
LINE_TOO_LONG = "Failed to parse message: line too long"
#: Asterisk's error message for the 129th line of an action (16.28 and 22.10; 11 by its source).
TOO_MANY_LINES = "Too many lines in message or allocation failure"


def raw_output_start(wire: bytes) -> Optional[int]:
    """Return the offset of the raw command output in a complete stanza, or None if it has none."""
    if not wire.startswith(FOLLOWS):
        return None
    start = _action_id_end(wire) or len(FOLLOWS)
    return start if wire.endswith(END_COMMAND, start) else None


def stanza_end(data: Union[bytes, bytearray], commands: Commands, start: int = 0) -> int:
    """Return the offset after the first stanza from a server, or -1 if it is incomplete.

    :param data: the stanza and what follows. While the third line of raw output is incomplete, no
        end can have been received yet.
    :param commands: the pending commands.
    :param start: an offset before which no end starts.
    """
    if commands and data.startswith(FOLLOWS):
        id_end = _action_id_end(data)
        action_id = None
        if id_end:
            line = bytes(data[len(FOLLOWS) : id_end - 2])
            action_id = to_text(line.partition(b":")[2].lstrip(b" "))
        if action_id in commands:
            end = data.find(END_COMMAND, start)
            return end if end == -1 else end + len(END_COMMAND)
    found = _STANZA_END.search(data, start)
    return -1 if found is None else found.end()


def _blank_lines_end(data: Union[bytes, bytearray]) -> int:
    """Return the number of bytes of the blank lines at the start, which are skipped."""
    end = 0
    while data.startswith((b"\r\n", b"\n"), end):
        end = data.index(b"\n", end) + 1
    return end


def _action_id_end(data: Union[bytes, bytearray]) -> int:
    """Return the end of the ActionID line after :data:`FOLLOWS`, or 0 without such a line."""
    # The server cannot have read an ActionID longer than its input buffer.
    end = data.find(b"\n", len(FOLLOWS), len(FOLLOWS) + SERVER_INPUT_BUFFER) + 1
    # Lines of the output end in LF alone, the server's own in CR LF (11.25).
    line = data[len(FOLLOWS) : end]
    return end if line[:9].lower() == b"actionid:" and line.endswith(b"\r\n") else 0


class StanzaReader:
    """Splits the bytes from a server into its banner line and stanzas.

    The lines of a stanza end in CR LF, and a blank line ends it, which can be an LF alone. Blank
    lines between stanzas are skipped. Raw command output ends at :data:`END_COMMAND`.

    :param max_line: most bytes of a line, without its LF.
    :param max_stanza: most bytes of a stanza, with its blank line.
    """

    def __init__(self, max_line: int, max_stanza: int) -> None:
        self._max_line = max_line
        self._max_stanza = max_stanza
        # No stanza of a batch can exceed a limit, because the whole batch does not.
        self._batch = min(_BATCH, max_line, max_stanza)
        #: The next stanzas, which were split together: at most 64 KiB, because their bytes are
        #: counted at each call of len(). Empty while commands are pending.
        self.ready: Deque[bytes] = deque()
        #: The unread bytes after them, to which received bytes are added. They always start with
        #: the next stanza.
        self.buffer = bytearray()
        # The progress in an incomplete stanza: the offset before which no end starts, and the start
        # of the first line of unchecked length. With these, each byte is searched about once, in
        # chunks of any size.
        self._searched = 0
        self._line = 0
        #: The pending commands. Only their responses may be raw output: the author of a header
        #: value could otherwise forge the start of raw output, which then would never end.
        self.commands: Commands = {}

    def __len__(self) -> int:
        """Return the number of unread bytes."""
        size = len(self.buffer)
        return size + sum(map(len, self.ready)) if self.ready else size

    def unsplit(self) -> None:
        """Put the stanzas in :attr:`ready` back, because a new command may change their ends."""
        self.buffer[:0] = b"".join(self.ready)
        self.ready.clear()

    def next_banner(self) -> Optional[bytes]:
        """Return the first line of the stream with its LF, or None if it is incomplete.

        :raises RemoteProtocolError: if it is longer than a banner.
        """
        end = self.buffer.find(b"\n", 0, MAX_BANNER + 1) + 1
        if end:
            return self._pop(end)
        if len(self.buffer) > MAX_BANNER:
            raise RemoteProtocolError(
                f"the first line is longer than {MAX_BANNER} bytes, so the peer is not an AMI "
                "server; check the host and port",
                limit=MAX_BANNER,
            )
        return None

    def next_stanza(self) -> Optional[bytes]:
        """Return the next stanza with its blank line, or None if it is incomplete.

        :raises RemoteProtocolError: if the next stanza, complete or not, exceeds a limit. The error
            does not depend on the chunks in which the bytes were received.
        """
        if self.ready:
            return self.ready.popleft()
        buffer = self.buffer
        unread = len(buffer)
        if unread and buffer[0] in b"\r\n":
            del buffer[: _blank_lines_end(buffer)]
            unread = len(buffer)
        if not unread:
            return None
        end = stanza_end(buffer, self.commands, self._searched)
        size = unread if end == -1 else end
        if size - self._line > self._max_line or size > self._max_stanza:
            self._line = self._check_limits(self._line, size)
        if end == -1:
            # END_COMMAND is the longest end, and may have been received in part.
            self._searched = max(0, size - len(END_COMMAND) + 1)
            return None
        self._searched = self._line = 0
        if end == unread:
            data = bytes(buffer)
            buffer.clear()
            return data
        if end > self._batch or self.commands:
            return self._pop(end)
        return self._split_batch(end)

    def _split_batch(self, end: int) -> bytes:
        """Return the first stanza, which ends at ``end``; add those after it to :attr:`ready`."""
        data = bytes(self.buffer[: self._batch])
        first = data[:end]
        for found in _STANZA_END.finditer(data, end):
            start, end = end, found.end()
            stanza = data[start:end]
            if stanza < b"\x0e":  # it may start with a CR or LF
                stanza = stanza[_blank_lines_end(stanza) :]
                if not stanza:
                    continue
            self.ready.append(stanza)
        del self.buffer[:end]
        return first

    def _pop(self, end: int) -> bytes:
        data = bytes(self.buffer[:end])
        del self.buffer[:end]  # takes constant time at the front of a bytearray
        return data

    def _check_limits(self, line: int, end: int) -> int:
        """Raise if a line or the stanza exceeds its limit before ``end``.

        The error is for the limit that is exceeded first in the stream, so that it does not depend
        on chunks.

        :param line: the start of the first line of unchecked length.
        :return: the start of the last line.
        """
        what, limit = "a message larger", self._max_stanza
        while True:
            line_end = self.buffer.find(b"\n", line, end)
            size = (end if line_end == -1 else line_end) - line
            if size > self._max_line and line + self._max_line <= self._max_stanza:
                what, limit = "a line longer", self._max_line
                break
            if line_end == -1 or line_end > self._max_stanza:
                if end <= self._max_stanza:
                    return line
                break
            line = line_end + 1
        raise RemoteProtocolError(f"the server sent {what} than {limit} bytes", limit=limit)


class ActionReader:
    """Splits the bytes from a client into actions exactly as Asterisk does, with its quirks.

    Each LF ends a line. If 1024 bytes have no LF, all but the last are dropped, and the response to
    the stanza is :data:`LINE_TOO_LONG`. The last byte starts a new line. If this byte is a CR and
    the next an LF, that line is blank, so the stanza ends early and the remaining lines are read as
    another action. Lines beyond 128 are dropped, and the response is :data:`TOO_MANY_LINES`.
    (16.28 and 22.10; :attr:`keeps_last_byte` is the difference to 11.)
    """

    def __init__(self) -> None:
        #: Whether the last of 1024 bytes without an LF is kept. Asterisk 11 drops it, too, so that
        #: lines of 1023 and of 1024 bytes end the stanza early (source of 11.5; the byte is kept
        #: since a change of 2015 that is in Asterisk 14).
        self.keeps_last_byte = True
        #: The unread bytes after the lines of the next stanza, to which received bytes are added.
        self.buffer = bytearray()
        self._lines: List[bytes] = []
        self._too_many = False
        self._too_long = False

    def __len__(self) -> int:
        """Return the number of unread bytes."""
        return len(self.buffer) + sum(map(len, self._lines))

    def next_stanza(self) -> Optional[Tuple[bytes, Optional[str]]]:
        """Return the next stanza with its blank line, and None or Asterisk's error message for it.

        Returns None if the next stanza is incomplete.
        """
        buffer = self.buffer
        while True:
            end = buffer.find(b"\n", 0, SERVER_INPUT_BUFFER) + 1
            if not end:
                if len(buffer) < SERVER_INPUT_BUFFER:
                    return None
                dropped = SERVER_INPUT_BUFFER - 1 if self.keeps_last_byte else SERVER_INPUT_BUFFER
                del buffer[:dropped]
                self._too_long = True
                continue
            line = bytes(buffer[:end])
            del buffer[:end]
            if line not in (b"\r\n", b"\n") and line[0]:
                if len(self._lines) < MAX_ACTION_LINES:
                    self._lines.append(line)
                else:
                    self._too_many = True
                continue
            wire = b"".join(self._lines) + line
            reason = None
            if self._too_many:  # the server checks this first, and then keeps the other flag
                reason = TOO_MANY_LINES
            elif self._too_long:
                reason = LINE_TOO_LONG
                self._too_long = False
            self._too_many = False
            self._lines.clear()
            return wire, reason
