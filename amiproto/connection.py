"""The codec of one AMI connection, as client or server: bytes to messages and back.

:mod:`amiproto.session` builds on it to log in and to match responses to actions.
"""

from __future__ import annotations

import enum
from typing import NamedTuple, Optional, Union

from .exceptions import LocalProtocolError, RemoteProtocolError
from .framing import FOLLOWS, ActionReader, StanzaReader, stanza_end
from .limits import (
    MAX_BACKLOG,
    MAX_BANNER,
    MAX_LINE,
    MAX_OUTSTANDING,
    MAX_PARTIAL_ACTION,
    MAX_STANZA,
)
from .messages import Action, Banner, Event, InvalidAction, Message, Response, UnknownMessage

#: The major AMI version of Asterisk 14. Earlier servers (AMI 1 and 2) respond to a command with raw
#: output (seen on 11.25), and drop the last byte of a line over their buffer (source of 11.5).
#: 14.0.0 to 14.1.2 have the banner of 13.7 to 13.12, and so are taken for them.
_AMI_OF_14 = 3


class Role(enum.Enum):
    """The side that a :class:`Connection` takes."""

    CLIENT = "client"
    SERVER = "server"


class State(enum.Enum):
    """The state of the receiving side of a connection."""

    #: The server's banner has not been received or sent yet.
    BANNER = "banner"
    #: Messages can be received and sent.
    OPEN = "open"
    #: The peer's stream has ended, and has been read completely. Messages can still be sent: a
    #: server responds to the actions before a client's half-close.
    CLOSED = "closed"
    #: The peer violated the protocol. Nothing more can be received or sent.
    ERROR = "error"


class NeedData(enum.Enum):
    """The type of :data:`NEED_DATA`."""

    NEED_DATA = "NEED_DATA"

    def __repr__(self) -> str:
        return "NEED_DATA"


#: Returned by ``next_event`` if it needs more data: call ``receive_data``.
NEED_DATA = NeedData.NEED_DATA


class EndOfStream(NamedTuple):
    """The peer's stream has ended.

    :ivar int unread: the number of bytes of an incomplete stanza at the end, or 0.
    """

    unread: int = 0

    @property
    def clean(self) -> bool:
        """True if the stream ended between stanzas."""
        return not self.unread


class Connection:
    """The codec of one connection, without any I/O.

    Pass received data to :meth:`receive_data` and :meth:`receive_eof`, call :meth:`next_event`
    until it returns :data:`NEED_DATA`, and write the bytes that :meth:`send` returns.

    In the client's role the events are :class:`Banner`, then :class:`Response`, :class:`Event` and
    :class:`UnknownMessage`; in the server's role :class:`Action` and :class:`InvalidAction`; in
    both roles finally :class:`EndOfStream`. The two directions end independently: :meth:`send`
    still works after the peer's end of stream.

    Blank lines between the stanzas of a server are skipped, and are not part of any message. A
    blank line from a client is an :class:`InvalidAction`, because servers respond to it.

    For a recording that starts in the middle, without a banner, receive the banner first (in the
    server's role, send it). The first message may then be the rest of a stanza. Raw output of
    Asterisk up to 13 is recognized only if the Command is passed to :meth:`send` before it.

    >>> connection = Connection(Role.CLIENT)
    >>> connection.receive_data(Banner("11.0.0").wire + b"Exten: 1\\r\\n\\r\\nEvent: X\\r\\n\\r\\n")
    >>> list(iter(connection.next_event, NEED_DATA))
    [<Banner 11.0.0>, <UnknownMessage Exten: '1'>, <Event Event: 'X'>]

    :param role: :attr:`Role.CLIENT` or :attr:`Role.SERVER`. A server parses actions as the Asterisk
        version of the :class:`Banner` that it sends.
    :param max_line: most bytes of a line from the server (client's role only; in the server's role
        the limits are Asterisk's own).
    :param max_stanza: most bytes of a stanza from the server (client's role only).
    :param max_backlog: most unread bytes at which :meth:`receive_data` accepts more.
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
        self._is_client = role is Role.CLIENT
        self._stanzas = StanzaReader(max_line, max_stanza)  # used in the client's role
        self._actions = ActionReader()  # used in the server's role
        self._reader: Union[StanzaReader, ActionReader] = (
            self._stanzas if self._is_client else self._actions
        )
        self._buffer = self._reader.buffer  # the same object
        self._ready = self._stanzas.ready
        self._commands = self._stanzas.commands  # used in both roles
        # An incomplete message is not a backlog, whatever max_backlog is.
        partial = max(max_stanza, MAX_BANNER) if self._is_client else MAX_PARTIAL_ACTION
        self._max_backlog = max(max_backlog, partial)
        self._banner: Optional[Banner] = None
        self._has_raw_output = True  # whether commands have raw output under this banner
        self._eof = False
        self._error: Optional[RemoteProtocolError] = None

    @property
    def role(self) -> Role:
        """The side of this connection (:class:`Role`)."""
        return self._role

    @property
    def state(self) -> State:
        """The state of the receiving side (:class:`State`)."""
        return self._state

    def receive_data(self, data: bytes) -> None:
        """Add received bytes (bytes, bytearray or memoryview). Empty data has no effect.

        :raises LocalProtocolError: after :meth:`receive_eof`.
        :raises RemoteProtocolError: if more than ``max_backlog`` bytes are unread already.
        :raises TypeError: for any other object.
        """
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(f"data must be bytes, not {type(data).__name__}")
        if not data:
            return
        if self._eof:
            raise LocalProtocolError("received data after the end of the stream")
        if self._error is not None:
            return  # the rest of the stream has no known meaning
        if len(self._reader) > self._max_backlog:
            raise self.fail(
                RemoteProtocolError(
                    f"{len(self._reader)} bytes are unread; the limit is {self._max_backlog}; call "
                    "next_event() until it returns NEED_DATA before feeding more data",
                    limit=self._max_backlog,
                    actual=len(self._reader),
                )
            )
        self._buffer += data

    def receive_eof(self) -> None:
        """Note the end of the peer's stream. The data before it can still be read."""
        self._eof = True

    def next_event(self) -> Union[Message, EndOfStream, NeedData]:
        """Return the peer's next message, :data:`NEED_DATA`, or finally :class:`EndOfStream`.

        :raises RemoteProtocolError: if the next message is not AMI or exceeds a limit. All messages
            before it have been returned. Later calls raise the same error again.
        """
        if self._ready:  # no command is pending, and no error occurred
            wire = self._ready.popleft()
            if wire.startswith(b"Event:"):  # nearly all are events
                return Event.from_wire(wire)
            return _parse(wire)
        if self._error is not None:
            raise _copy_error(self._error)
        message: Optional[Message]
        try:
            if not self._is_client:
                message = self._next_from_client()
            elif self._banner is None:
                message = self._next_banner()
            else:
                stanza = self._stanzas.next_stanza()
                message = None if stanza is None else _parse(stanza)
        except RemoteProtocolError as error:
            raise self.fail(error) from None
        if message is not None:
            if self._commands and isinstance(message, Response):
                self._remove_command(message)
            return message
        if not self._eof:
            return NEED_DATA
        self._state = State.CLOSED
        return EndOfStream(len(self._reader))

    def send(self, message: Message) -> bytes:
        """Return the bytes to write for a message.

        A client sends Actions. A server sends its Banner first, then Responses, Events and
        UnknownMessages.

        :raises LocalProtocolError: if this role cannot send such a message, or not in this state.
            The connection is then unchanged.
        """
        if self._state is State.ERROR:
            raise LocalProtocolError(
                "the connection cannot be used because the peer violated the protocol"
            )
        if self._is_client and isinstance(message, Action):
            if self._banner is None:
                raise LocalProtocolError("cannot send an action before the server's banner")
            if self._has_raw_output and not self._add_command(message):
                raise LocalProtocolError(
                    f"{len(self._commands)} commands are pending; the limit is {MAX_OUTSTANDING}",
                    limit=MAX_OUTSTANDING,
                    actual=len(self._commands),
                    action_id=message.action_id,
                )
            return message.wire
        allowed = Banner if self._banner is None else (Response, Event, UnknownMessage)
        if self._is_client or not isinstance(message, allowed):
            raise LocalProtocolError(
                f"a {self._role.value} in state {self._state.value} cannot send "
                f"{type(message).__name__}"
            )
        if isinstance(message, Banner):
            self._open(message)
        elif isinstance(message, Response):
            self._check_raw_output(message)
            self._remove_command(message)
        return message.wire

    def fail(self, error: RemoteProtocolError) -> RemoteProtocolError:
        """Mark the connection as failed, and return the error; for use by the layer above."""
        # A copy, because an error that has been raised refers to frames, and they to this object.
        self._error = _copy_error(error)
        self._state = State.ERROR
        self._ready.clear()
        return error

    def _open(self, banner: Banner) -> None:
        self._banner = banner
        major = banner.major
        self._has_raw_output = major is None or major < _AMI_OF_14
        self._actions.keeps_last_byte = major is None or major >= _AMI_OF_14
        if self._state is State.BANNER:
            self._state = State.OPEN

    def _add_command(self, action: Action) -> bool:
        """Add a pending command, if the action is one; return False if there are too many.

        Its response may be raw output.
        """
        if action.name.lower() == "command":
            pending = self._commands.get(action.action_id, 0)
            if not pending and len(self._commands) >= MAX_OUTSTANDING:
                return False
            self._commands[action.action_id] = pending + 1
            self._stanzas.unsplit()
        return True

    def _remove_command(self, response: Response) -> None:
        if response.action_id in self._commands:
            self._commands[response.action_id] -= 1
            if not self._commands[response.action_id]:
                del self._commands[response.action_id]

    def _check_raw_output(self, response: Response) -> None:
        """Reject a ``Response: Follows`` whose end the client would not find."""
        wire = response.wire
        if wire.startswith(FOLLOWS) and stanza_end(wire, self._commands) != len(wire):
            raise LocalProtocolError(
                "the client could not find the end of this Response: Follows; raw output is "
                "possible only in response to a Command, under AMI 1 and 2",
                field="Response",
            )

    def _next_banner(self) -> Optional[Banner]:
        wire = self._stanzas.next_banner()
        if wire is None:
            return None
        banner = Banner.from_wire(wire)
        if not wire.startswith(Banner.PRODUCT.encode()) or b"/" not in wire:
            raise RemoteProtocolError(
                "the first line is not the banner of an AMI server; check the host and port"
            )
        self._open(banner)
        return banner

    def _next_from_client(self) -> Union[Action, InvalidAction, None]:
        stanza = self._actions.next_stanza()
        if stanza is None:
            return None
        wire, reason = stanza
        if reason is not None:
            return InvalidAction(wire, reason)
        action: Action = Action.from_wire(wire)
        if not action.name:
            return InvalidAction(wire)
        if self._has_raw_output:
            self._add_command(action)  # a command over the limit cannot have raw output
        return action


def _parse(wire: bytes) -> Message:
    """Return a stanza from a server as a message, whose class depends on the first header alone.

    An OriginateResponse *event* has ``Response: Failure`` and an ActionID, and a UserEvent echoes
    any lines that its sender wrote (11.25, 16.28, 22.10).
    """
    name = wire[: wire.find(b":")].lower()
    if name == b"event":
        return Event.from_wire(wire)
    return (Response if name == b"response" else UnknownMessage).from_wire(wire)


def _copy_error(error: RemoteProtocolError) -> RemoteProtocolError:
    return RemoteProtocolError(
        error.message, limit=error.limit, actual=error.actual, action_id=error.action_id
    )
