"""One AMI connection in either role: bytes in, messages out; messages in, bytes out.

Apart from the session, which knows who asked what: a connection only reads, writes, and knows
whether the banner was seen and whether the stream has ended.
"""

from __future__ import annotations

import enum

from .errors import LocalProtocolError, RemoteProtocolError
from .framing import ActionReader, StanzaReader
from .headers import split_line
from .limits import MAX_BACKLOG, MAX_BANNER, MAX_LINE, MAX_PARTIAL_ACTION, MAX_STANZA
from .lines import action_lines, value_as_read
from .messages import (
    FOLLOWS,
    MISSING_ACTION,
    Action,
    Banner,
    Event,
    Orphan,
    Response,
    malformed,
)
from .text import to_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional, Tuple, Type, Union

    from .messages import Message

    _KindDict = Dict[bytes, Optional[Type[Message]]]
else:
    _KindDict = dict


class Role(enum.Enum):
    """Which end of the connection this is."""

    CLIENT = "client"
    SERVER = "server"


class State(enum.Enum):
    """How far a connection has come."""

    #: The server's banner has not gone by yet.
    BANNER = "banner"
    #: Messages go both ways.
    OPEN = "open"
    #: The peer's stream has ended, and everything before its end was read.
    CLOSED = "closed"
    #: The peer broke the protocol; nothing more can be read.
    ERROR = "error"


class NeedData(enum.Enum):
    """The type of :data:`NEED_DATA`."""

    NEED_DATA = "NEED_DATA"

    def __repr__(self) -> str:
        return "NEED_DATA"


#: What ``next_event`` gives when it has nothing more until ``receive_data`` is called.
NEED_DATA = NeedData.NEED_DATA


class EndOfStream:
    """The peer's stream has ended.

    :ivar int unread: bytes of a stanza that was cut off; 0 when the end came between stanzas.
    """

    __slots__ = ("_unread",)

    def __init__(self, unread: int = 0) -> None:
        self._unread = unread

    @property
    def unread(self) -> int:
        """Bytes of the stanza that was cut off, 0 when there was none."""
        return self._unread

    @property
    def clean(self) -> bool:
        """Whether the end came between stanzas."""
        return not self._unread

    def __eq__(self, other: object) -> bool:
        return self._unread == other._unread if isinstance(other, EndOfStream) else NotImplemented

    def __hash__(self) -> int:
        return hash((EndOfStream, self._unread))

    def __reduce__(self) -> Tuple[Any, ...]:
        return EndOfStream, (self._unread,)

    def __repr__(self) -> str:
        return f"<EndOfStream unread={self._unread}>"


def kind_of_stanza(first_line: bytes) -> Type[Message]:
    """The class of a server's stanza, told by its first line and by nothing else.

    An OriginateResponse *event* carries ``Response: Failure`` and an ActionID, and a UserEvent
    echoes whatever lines its sender wrote (all of 11.25, 16.28, 22.10).
    """
    name = split_line(to_text(first_line))[0].lower()
    return {"event": Event, "response": Response}.get(name, Orphan)


class _UsualKinds(_KindDict):
    """The kinds by first line, None where the stanza needs a closer look. Bounded."""

    __slots__ = ()
    MAX_LINES = 512
    MAX_LINE_BYTES = 64

    def __missing__(self, line: bytes) -> Optional[Type[Message]]:
        usual = line and b"\n" not in line and line != FOLLOWS[: len(line)]
        kind = kind_of_stanza(line) if usual else None
        if len(line) <= self.MAX_LINE_BYTES:
            if len(self) >= self.MAX_LINES:
                self.clear()
            self[line] = kind
        return kind


def _without_blank_lines(piece: bytes) -> bytes:
    """What is behind surplus blank lines at the start of a piece."""
    start = 0
    while piece.startswith((b"\r\n", b"\n"), start):
        start = piece.find(b"\n", start) + 1
    return piece[start:]


def _kind_of_piece(piece: bytes) -> Optional[Type[Message]]:
    line = piece.partition(b"\r\n")[0]
    if b"\n" in line or piece.startswith(FOLLOWS[:-2]):
        return None  # it may end elsewhere; the CR LF may be part of the blank line cut off
    return kind_of_stanza(line)


_usual_kind = _UsualKinds().__getitem__
_new = object.__new__


class Connection:
    """The codec of one connection, without any I/O.

    Feed it what arrives with :meth:`receive_data` and :meth:`receive_eof`, take what that means
    from :meth:`next_event` until it gives :data:`NEED_DATA`, and write what :meth:`send` returns.

    In the client's role :meth:`next_event` gives :class:`Banner`, then :class:`Response`,
    :class:`Event` and :class:`Orphan`; in the server's role :class:`Action` and
    :class:`Malformed`; in both, at the end, :class:`EndOfStream`.

    :param role: :attr:`Role.CLIENT` or :attr:`Role.SERVER`.
    :param max_line: most bytes of a line from the server (client's role; the server's role has the
        limits of Asterisk itself).
    :param max_stanza: most bytes of a stanza from the server (client's role).
    :param max_backlog: most bytes that wait unread when more arrive.
    """

    def __init__(
        self,
        role: Role,
        *,
        max_line: int = MAX_LINE,
        max_stanza: int = MAX_STANZA,
        max_backlog: int = MAX_BACKLOG,
    ) -> None:
        self._role = role
        self._state = State.BANNER
        self._stanzas = StanzaReader(max_line, max_stanza)
        self._actions = ActionReader()
        client = role is Role.CLIENT
        # Never less than what can wait with every event read: that alone is no backlog.
        partial = max(max_stanza, MAX_BANNER) if client else MAX_PARTIAL_ACTION
        self._max_backlog = max(max_backlog, partial)
        self._reader: Union[StanzaReader, ActionReader] = self._stanzas if client else self._actions
        self._read = self._next_banner if client else self._next_action
        # Messages read ahead, the next one last; always this one list, as a session looks at it.
        self._ready: List[Message] = []
        self._takes_actions = False  # the usual case of send, told by one look
        self._eof = False
        self._error: Optional[RemoteProtocolError] = None

    @property
    def role(self) -> Role:
        """Which end of the connection this is (:class:`Role`)."""
        return self._role

    @property
    def state(self) -> State:
        """How far the connection has come (:class:`State`)."""
        return self._state

    def receive_data(self, data: bytes) -> None:
        """Take bytes (bytes-like) that came from the peer; none at all change nothing.

        :raises LocalProtocolError: after :meth:`receive_eof`.
        :raises RemoteProtocolError: when more than ``max_backlog`` bytes wait unread already.
        """
        if not data:
            return
        if self._eof:
            raise LocalProtocolError("data came after the end of the stream; use a new connection")
        if self._error is not None:
            return  # what follows an error in the stream has no known meaning
        if data[-1] == 0x0A and not self._ready and self._takes_actions and self._take_sole(data):
            return
        if self._reader.feed(data) > self._max_backlog:
            raise self.fail(
                RemoteProtocolError(
                    f"over {self._max_backlog} bytes wait unread; call next_event until NEED_DATA "
                    "before you receive more",
                    limit=self._max_backlog,
                )
            )

    def receive_eof(self) -> None:
        """Take the end of the peer's stream; what came before it can still be read."""
        self._eof = True

    def next_event(self) -> Union[Message, EndOfStream, NeedData]:
        """The next message of the peer, :data:`NEED_DATA`, or :class:`EndOfStream` at the end.

        :raises RemoteProtocolError: when what comes next is not AMI or is over a limit. The
            messages before it have been given; every later call raises the same again.
        """
        if self._ready:
            return self._ready.pop()
        if self._error is not None:
            raise self._error_again()
        try:
            message = self._read()
        except RemoteProtocolError as error:
            self.fail(error)
            raise
        if message is not None:
            return message
        if self._eof:
            self._state = State.CLOSED
            self._takes_actions = False
            return EndOfStream(len(self._reader))
        return NEED_DATA

    def send(self, message: Message) -> bytes:
        """The bytes to write for a message: Action as a client; Banner first, then Response, Event
        and Orphan as a server.

        :raises LocalProtocolError: when this role cannot send such a message, or not now. The
            connection is as it was before.
        """
        if self._takes_actions and isinstance(message, Action):
            return message.wire
        if self._state is State.ERROR or self._state is State.CLOSED:
            raise LocalProtocolError("the connection has ended; nothing can be sent any more")
        banner = self._state is State.BANNER
        if self._role is Role.CLIENT:
            allowed = isinstance(message, Action)
            if banner and allowed:
                raise LocalProtocolError("wait for the server's Banner before you send an action")
        elif banner:
            allowed = isinstance(message, Banner)
        else:
            allowed = isinstance(message, (Response, Event, Orphan))
        if not allowed:
            raise LocalProtocolError(
                f"a {self._role.value} in state {self._state.value} sends no "
                f"{type(message).__name__}"
            )
        if isinstance(message, Banner):
            self._opened(message)
        elif (
            isinstance(message, Response)
            and message.wire.startswith(FOLLOWS)
            and not self._stanzas.ends_there(message.wire)
        ):
            raise LocalProtocolError(
                "under this banner, the text of Response: Follows would be cut off or go on for "
                "ever; AMI 3 and later send Output headers, AMI 1 and 2 raw text",
                field="Response",
            )
        return message.wire

    def _opened(self, banner: Banner) -> None:
        self._stanzas.legacy = banner.major is None or banner.major < 3
        self._state = State.OPEN
        if self._role is Role.CLIENT:
            self._takes_actions = True
            self._read = self._next_stanza

    def _next_banner(self) -> Optional[Message]:
        wire = self._stanzas.next_banner()
        if wire is None:
            return None
        banner = Banner.from_wire(wire)
        if not wire.startswith(Banner.PRODUCT.encode()) or b"/" not in wire:
            raise RemoteProtocolError(
                "the first line is not the banner of an Asterisk Manager Interface; "
                "check host and port"
            )
        self._opened(banner)
        return banner

    def _next_stanza(self) -> Optional[Message]:
        if self._stanzas.is_idle:
            return None
        self._read_ahead()
        if self._ready:
            return self._ready.pop()
        wire = self._stanzas.next_stanza()
        if wire is None:
            return None
        return kind_of_stanza(wire[: wire.find(b"\n")]).from_wire(wire)

    def _take_sole(self, data: bytes) -> bool:
        # What comes when nothing else waits is mostly one usual stanza, an answer: no need to
        # keep its bytes and to search them in pieces.
        piece = self._stanzas.sole(data)
        end = -1 if piece is None else piece.find(b"\r\n")
        kind = _usual_kind(piece[:end]) if piece is not None and end > 0 else None
        if kind is None:
            return False
        message: Message = _new(kind)
        message._body = piece
        message._wire = message._headers = None
        self._ready.append(message)
        return True

    def _read_ahead(self) -> None:
        """Make messages of all the usual stanzas at hand: in one go each costs half as much."""
        pieces = self._stanzas.cut_ahead()
        if not pieces:
            return
        ready = self._ready
        remaining = iter(pieces)
        for piece in remaining:
            end = piece.find(b"\r\n")
            kind = _usual_kind(piece[:end]) if end > 0 else None
            if kind is None:
                rest = _without_blank_lines(piece)
                if not rest:
                    continue
                kind = _kind_of_piece(rest)
                if kind is None:
                    self._stanzas.leave([piece, *remaining])
                    break
                piece = rest
            message: Message = _new(kind)
            message._body = piece
            message._wire = message._headers = None
            ready.append(message)
        ready.reverse()

    def _next_action(self) -> Optional[Message]:
        stanza = self._actions.next_stanza()
        if stanza is None:
            return None
        wire, reason = stanza
        if reason is None and value_as_read(action_lines(wire), b"Action", skip_empty=True):
            return Action.from_wire(wire)
        return malformed(wire, reason or MISSING_ACTION)

    def fail(self, error: RemoteProtocolError) -> RemoteProtocolError:
        """Take an error found by a layer above as the end of this connection, and return it."""
        self._error = error
        self._ready.clear()
        self._state = State.ERROR
        self._takes_actions = False
        return error

    def _error_again(self) -> RemoteProtocolError:
        # A fresh one each time: raising the same object would tie one traceback to another.
        assert self._error is not None
        error = self._error
        return RemoteProtocolError(error.message, limit=error.limit, action_id=error.action_id)
