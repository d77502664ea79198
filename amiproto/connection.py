"""One AMI connection in either role: bytes in, messages out; messages in, bytes out.

The session above it knows who asked what. A connection only reads, writes, and knows whether the
banner was seen and whether the peer's stream has ended.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Optional, Type, Union

from .exceptions import LocalProtocolError, RemoteProtocolError
from .framing import FOLLOWS, ActionReader, StanzaReader, stanza_terminator
from .limits import (
    MAX_BACKLOG,
    MAX_BANNER,
    MAX_LINE,
    MAX_OUTSTANDING,
    MAX_PARTIAL_ACTION,
    MAX_STANZA,
)
from .messages import Action, Banner, Event, InvalidAction, Message, Response, UnknownMessage

#: First number of the version of AMI of Asterisk 14, from which on a command's answer is an
#: ordinary stanza (before, under AMI 1 and 2, it is raw text: seen on 11.25), and a server keeps
#: the last byte of a line over its buffer (before, it drops it: source of 11.5).
_AMI_OF_14 = 3


class Role(enum.Enum):
    """Which end of the connection this is."""

    CLIENT = "client"
    SERVER = "server"


class State(enum.Enum):
    """How far a connection has come in reading."""

    #: The server's banner has not gone by yet.
    BANNER = "banner"
    #: Messages go both ways.
    OPEN = "open"
    #: The peer's stream has ended, and everything before its end was read. One's own messages can
    #: still be sent: a server answers what it was asked before the client's half-close.
    CLOSED = "closed"
    #: The peer broke the protocol; nothing more can be read or sent.
    ERROR = "error"


class NeedData(enum.Enum):
    """The type of :data:`NEED_DATA`."""

    NEED_DATA = "NEED_DATA"

    def __repr__(self) -> str:
        return "NEED_DATA"


#: What ``next_event`` gives when it has nothing more until ``receive_data`` is called.
NEED_DATA = NeedData.NEED_DATA


@dataclass(frozen=True)
class EndOfStream:
    """The peer's stream has ended.

    :ivar int unread: bytes of a stanza that was cut off; 0 when the end came between stanzas.
    """

    unread: int = 0

    @property
    def clean(self) -> bool:
        """Whether the end came between stanzas."""
        return not self.unread


class Connection:
    """The codec of one connection, without any I/O.

    Feed it what arrives with :meth:`receive_data` and :meth:`receive_eof`, take what that means
    from :meth:`next_event` until it gives :data:`NEED_DATA`, and write what :meth:`send` returns.

    In the client's role :meth:`next_event` gives :class:`Banner`, then :class:`Response`,
    :class:`Event` and :class:`UnknownMessage`; in the server's role :class:`Action` and
    :class:`InvalidAction`; in both, at the end, :class:`EndOfStream`. The two directions end apart:
    after the peer's end, :meth:`send` goes on.

    :param role: :attr:`Role.CLIENT` or :attr:`Role.SERVER`. A server reads as the Asterisk that
        the :class:`Banner` it sends belongs to.
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
        # A client reads stanzas. A server reads actions; its own stanzas are looked at only for
        # whether a client would find their end.
        self._stanzas = StanzaReader(max_line, max_stanza)
        self._actions = ActionReader()
        client = role is Role.CLIENT
        self._reader: Union[StanzaReader, ActionReader] = self._stanzas if client else self._actions
        self._next = self._next_of_server if client else self._next_of_client
        # Never less than what can wait with every event read: that alone is no backlog.
        partial = max(max_stanza, MAX_BANNER) if client else MAX_PARTIAL_ACTION
        self._max_backlog = max(max_backlog, partial)
        self._commands = self._stanzas.commands
        self._banner: Optional[Banner] = None
        self._has_text = True  # whether commands are answered in raw text under this banner
        self._eof = False
        self._error: Optional[RemoteProtocolError] = None

    @property
    def role(self) -> Role:
        """Which end of the connection this is (:class:`Role`)."""
        return self._role

    @property
    def state(self) -> State:
        """How far the connection has come in reading (:class:`State`)."""
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
        if len(self._reader) > self._max_backlog:
            raise self.fail(
                RemoteProtocolError(
                    f"over {self._max_backlog} bytes wait unread; call next_event until NEED_DATA "
                    "before you receive more",
                    limit=self._max_backlog,
                )
            )
        self._reader.feed(data)

    def receive_eof(self) -> None:
        """Take the end of the peer's stream; what came before it can still be read."""
        self._eof = True

    def next_event(self) -> Union[Message, EndOfStream, NeedData]:
        """The next message of the peer, :data:`NEED_DATA`, or :class:`EndOfStream` at the end.

        :raises RemoteProtocolError: when what comes next is not AMI or is over a limit. The
            messages before it have been given; every later call raises the same again.
        """
        if self._error is not None:
            # A fresh one each time: raising the same object would tie one traceback to another.
            error = self._error
            raise RemoteProtocolError(error.message, limit=error.limit, action_id=error.action_id)
        message = self._next()
        if message is not None:
            return message
        if not self._eof:
            return NEED_DATA
        self._state = State.CLOSED
        return EndOfStream(len(self._reader))

    def send(self, message: Message) -> bytes:
        """The bytes to write for a message: Action as a client; Banner first, then Response, Event
        and UnknownMessage as a server.

        :raises LocalProtocolError: when this role cannot send such a message, or not now. The
            connection is as it was before.
        """
        if self._state is State.ERROR:
            raise LocalProtocolError(
                "the connection has ended, as the peer broke the protocol; use a new connection"
            )
        if self._role is Role.CLIENT:
            allowed = isinstance(message, Action)
            if allowed and self._banner is None:
                raise LocalProtocolError("wait for the server's Banner before you send an action")
        elif self._banner is None:
            allowed = isinstance(message, Banner)
        else:
            allowed = isinstance(message, (Response, Event, UnknownMessage))
        if not allowed:
            raise LocalProtocolError(
                f"a {self._role.value} in state {self._state.value} sends no "
                f"{type(message).__name__}; send it from the other end, or later"
            )
        if isinstance(message, Banner):
            self._open(message)
        elif isinstance(message, Action):
            if not self._note_command(message):
                raise LocalProtocolError(
                    f"{MAX_OUTSTANDING} commands wait for an answer; read answers first",
                    limit=MAX_OUTSTANDING,
                    actual=len(self._commands),
                    action_id=message.action_id,
                )
        elif isinstance(message, Response):
            self._check_text(message)
            self._note_answer(message)
        return message.wire

    def fail(self, error: RemoteProtocolError) -> RemoteProtocolError:
        """Take an error found by a layer above as the end of this connection, and return it."""
        self._error = error
        self._state = State.ERROR
        return error

    def _open(self, banner: Banner) -> None:
        self._banner = banner
        major = banner.major
        self._has_text = major is None or major < _AMI_OF_14
        self._actions.keeps_last_byte = major is None or major >= _AMI_OF_14
        if self._state is State.BANNER:
            self._state = State.OPEN

    def _next_of_server(self) -> Optional[Message]:
        try:
            wire = self._stanzas.next_stanza()
        except RemoteProtocolError as error:
            raise self.fail(error) from None
        if wire is None:
            return None
        if self._banner is None:
            return self._take_banner(wire)
        message = message_class(wire).from_wire(wire)
        if self._commands and isinstance(message, Response):
            self._note_answer(message)
        return message

    def _note_command(self, action: Action) -> bool:
        """From here until its answer, raw text may come for a command; False for one too many."""
        if self._has_text and action.name.lower() == "command":
            waiting = self._commands.get(action.action_id, 0)
            if not waiting and len(self._commands) >= MAX_OUTSTANDING:
                return False
            self._commands[action.action_id] = waiting + 1
        return True

    def _note_answer(self, response: Response) -> None:
        if response.action_id in self._commands:
            self._commands[response.action_id] -= 1
            if not self._commands[response.action_id]:
                del self._commands[response.action_id]

    def _check_text(self, response: Response) -> None:
        """Refuse an answer to a command whose end the client would look for elsewhere."""
        wire = response.wire
        if not wire.startswith(FOLLOWS):
            return
        end = stanza_terminator(wire, self._commands)
        if wire.find(end) + len(end) != len(wire):
            raise LocalProtocolError(
                "the client would find the end of this Response: Follows elsewhere; send raw text "
                "only to answer a Command under AMI 1 and 2, and Output headers otherwise",
                field="Response",
            )

    def _take_banner(self, wire: bytes) -> Banner:
        banner = Banner.from_wire(wire)
        if not wire.startswith(Banner.PRODUCT.encode()) or b"/" not in wire:
            raise self.fail(
                RemoteProtocolError(
                    "the first line is not the banner of an Asterisk Manager Interface; "
                    "check host and port"
                )
            )
        self._open(banner)
        return banner

    def _next_of_client(self) -> Optional[Message]:
        stanza = self._actions.next_stanza()
        if stanza is None:
            return None
        wire, reason = stanza
        if reason is not None:
            return InvalidAction(wire, reason)
        action: Action = Action.from_wire(wire)
        if not action.name:
            return InvalidAction(wire)
        self._note_command(action)  # one too many has no answer in raw text
        return action


def message_class(wire: bytes) -> Type[Message]:
    """The class of a server's stanza, told by its first header and by nothing else.

    An OriginateResponse *event* carries ``Response: Failure`` and an ActionID, and a UserEvent
    echoes whatever lines its sender wrote (all of 11.25, 16.28, 22.10).
    """
    name = wire[: wire.find(b":")].lower()
    if name == b"event":
        return Event
    return Response if name == b"response" else UnknownMessage
