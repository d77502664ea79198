"""Bytes to stanzas, one reader for each direction: where a stanza ends, and what is too long.

A reader stands below the messages because it knows nothing of headers: it cuts, it counts, and it
goes over each byte once, however the bytes arrive.
"""

from __future__ import annotations

import re
from typing import Dict, Iterator, List, Optional, Tuple, Union

from ._text import to_text
from .exceptions import RemoteProtocolError
from .limits import MAX_ACTION_LINES, MAX_BANNER, SERVER_INPUT_BUFFER

# How many commands wait for their answers, by ActionID; None stands for those without one.
Commands = Dict[Optional[str], int]

_CR = 0x0D

#: How nearly every stanza of a server ends. A bare CR or LF inside it belongs to a value.
_END = b"\r\n\r\n"

#: How a stanza ends whose first line ends in LF alone: at a blank line of either kind.
_END_OF_LF_STANZA = re.compile(b"\n\r?\n")

#: How the raw text of a command starts, before Asterisk 14 (seen on 11.25): with these two lines,
#: then the ActionID where the action had one, then the text. Later versions send an ordinary
#: stanza.
FOLLOWS = b"Response: Follows\r\nPrivilege: Command\r\n"

#: How that text ends: this line and a blank line (11.25).
END_COMMAND = b"--END COMMAND--\r\n\r\n"

#: What Asterisk answers to a line over its buffer (16.28 and 22.10; 11 by its source).
LINE_TOO_LONG = "Failed to parse message: line too long"
#: What Asterisk answers to the 129th line of an action (16.28 and 22.10; 11 by its source).
TOO_MANY_LINES = "Too many lines in message or allocation failure"


def raw_output_start(wire: bytes) -> Optional[int]:
    """Where the raw text of a command starts; None where the stanza is of another kind.

    :param wire: a whole stanza.
    """
    if not wire.startswith(FOLLOWS) or not wire.endswith(END_COMMAND):
        return None
    return _action_id_end(wire) or len(FOLLOWS)


def stanza_terminator(data: Union[bytes, bytearray], commands: Commands) -> bytes:
    """How a stanza ends that starts as raw text does: as that, or as any other.

    :param data: the stanza, or its start. While its third line is not complete the answer may
        change, but neither end can have come.
    :param commands: those that wait for an answer.
    """
    end = _action_id_end(data)
    action_id = None
    if end:
        action_id = to_text(bytes(data[len(FOLLOWS) : end - 2].partition(b":")[2].lstrip(b" ")))
    return END_COMMAND if action_id in commands else _END


def _action_id_end(data: Union[bytes, bytearray]) -> int:
    """Where the ActionID line after :data:`FOLLOWS` ends; 0 where there is none."""
    # No ActionID came in that was longer than the server's buffer.
    end = data.find(b"\n", len(FOLLOWS), len(FOLLOWS) + SERVER_INPUT_BUFFER) + 1
    # The lines of the text end in LF alone, the server's own in CR LF (11.25).
    line = data[len(FOLLOWS) : end]
    return end if line[:9].lower() == b"actionid:" and line.endswith(b"\r\n") else 0


class StanzaReader:
    """Cuts what a server sends: its banner line first, then stanzas.

    A stanza whose first line ends in CR LF, as all of Asterisk's do, ends at CR LF CR LF. One
    whose first line ends in LF alone ends at a blank line of either kind. Blank lines between
    stanzas are skipped. The raw text of a command ends at :data:`END_COMMAND`.

    :param max_line: most bytes between two LF.
    :param max_stanza: most bytes of a stanza, its blank line included.
    """

    def __init__(self, max_line: int, max_stanza: int) -> None:
        self._max_line = max_line
        self._max_stanza = max_stanza
        # It always starts with the stanza that is read next.
        self._buffer = bytearray()
        #: Gives the banner line, then each stanza with its blank line; None until more bytes come.
        #: Raises RemoteProtocolError when what comes next is over a limit, complete or not. Which
        #: error that is does not depend on how the stream was cut. The reader is used up then.
        self.next_stanza = self._read().__next__
        #: The commands whose answers may be raw text, by ActionID. Nothing else starts raw text:
        #: whoever can put a line break into a value could start it otherwise, and make all that
        #: follows part of a text without end.
        self.commands: Commands = {}

    def __len__(self) -> int:
        """Bytes that wait: unread stanzas, and the start of one that is not complete."""
        return len(self._buffer)

    def feed(self, data: bytes) -> None:
        """Take bytes as they came."""
        self._buffer += data

    def _read(self) -> Iterator[Optional[bytes]]:
        buffer = self._buffer
        end = buffer.find(b"\n")
        while end == -1 and len(buffer) <= MAX_BANNER:
            yield None
            end = buffer.find(b"\n")
        if end == -1 or end > MAX_BANNER:
            raise RemoteProtocolError(
                f"the first line has over {MAX_BANNER} bytes: this is no Asterisk Manager "
                "Interface; check host and port",
                limit=MAX_BANNER,
            )
        while True:
            stanza = bytes(buffer[: end + 1])
            del buffer[: end + 1]  # which only lets go of the front, and moves no byte
            yield stanza
            # No byte is looked at twice for long: no end of the next stanza starts before
            # `searched`, and no line before the one that starts at `line` is too long.
            first = end = -1  # the first LF and the last one
            searched = line = 0
            while end == -1:
                if first == -1:
                    first = buffer.find(b"\n", searched)
                    if first == 0 or (first == 1 and buffer[0] == _CR):
                        del buffer[: first + 1]  # a blank line between stanzas
                        first = -1
                        continue
                if first == -1:
                    pass
                elif buffer[first - 1] != _CR:
                    found = _END_OF_LF_STANZA.search(buffer, max(first, searched))
                    end = found.end() - 1 if found else -1
                else:
                    is_text = self.commands and buffer.startswith(FOLLOWS)
                    last = stanza_terminator(buffer, self.commands) if is_text else _END
                    end = buffer.find(last, searched)
                    if end != -1:
                        end += len(last) - 1
                if end == -1:
                    if len(buffer) - line > self._max_line or len(buffer) > self._max_stanza:
                        line = self._check_limits(line, len(buffer))
                    searched = max(0, len(buffer) - len(END_COMMAND) + 1)  # the longest of the ends
                    yield None
            if end >= self._max_line or end >= self._max_stanza:
                self._check_limits(line, end + 1)

    def _check_limits(self, line: int, end: int) -> int:
        """Refuse what is over a limit up to ``end``; return where the last line starts.

        Whatever comes first in the stream is the error, so that it does not depend on how the
        stream was cut.

        :param line: where the first line starts that is not known to be short enough.
        """
        while True:
            line_end = self._buffer.find(b"\n", line, end)
            size = (end if line_end == -1 else line_end) - line
            if size > self._max_line and line + self._max_line <= self._max_stanza:
                raise RemoteProtocolError(
                    f"the server sent a line of over {self._max_line} bytes; close the connection",
                    limit=self._max_line,
                )
            if line_end == -1 or line_end > self._max_stanza:
                break
            line = line_end + 1
        if end > self._max_stanza:
            raise RemoteProtocolError(
                f"the server sent a stanza of over {self._max_stanza} bytes; close the connection",
                limit=self._max_stanza,
            )
        return line


class ActionReader:
    """Cuts what a client sends, as the server's own input loop does, its surprises included.

    Each LF ends a line. Of 1024 bytes without an LF all but the last are dropped, the stanza is
    answered with :data:`LINE_TOO_LONG`, and that last byte with what follows it counts as a line of
    its own: where that is a CR and its LF, it ends the stanza early, and the lines after it are
    read as another action. Lines beyond 128 are lost and the stanza is answered with
    :data:`TOO_MANY_LINES`. (Asterisk 16.28 and 22.10; :attr:`keeps_last_byte` is what differs on 11.)
    """

    def __init__(self) -> None:
        #: Whether the last of 1024 bytes without an LF is kept. Asterisk 11 drops it too, so that
        #: lines of 1023 and of 1024 bytes end the stanza early (source of 11.5; the byte is kept
        #: since a change of 2015 that went into Asterisk 14).
        self.keeps_last_byte = True
        self._buffer = bytearray()
        self._position = 0
        self._lines: List[bytes] = []
        self._lost = False
        self._too_long = False

    def __len__(self) -> int:
        """Bytes that wait: unread stanzas, and the start of one that is not complete."""
        return len(self._buffer) - self._position + sum(map(len, self._lines))

    def feed(self, data: bytes) -> None:
        """Take bytes as they came."""
        del self._buffer[: self._position]
        self._position = 0
        self._buffer += data

    def next_stanza(self) -> Optional[Tuple[bytes, Optional[str]]]:
        """The next stanza with its blank line, and None or the reason why it cannot be read."""
        buffer = self._buffer
        while True:
            start = self._position
            end = buffer.find(b"\n", start, start + SERVER_INPUT_BUFFER) + 1
            if not end:
                if len(buffer) - start < SERVER_INPUT_BUFFER:
                    return None
                # The last byte may be the CR of a line end.
                dropped = SERVER_INPUT_BUFFER - 1 if self.keeps_last_byte else SERVER_INPUT_BUFFER
                self._position = start + dropped
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
