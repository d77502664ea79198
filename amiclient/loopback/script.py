"""Scripted responses for tests, and :class:`Received`, a message as the server understood it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Iterable, Optional, Sequence, Tuple, TypeVar, Union

from amiproto import Action, Event, Message, MessageSend, Response
from amiproto._text import get_header, to_bytes, to_text
from amiproto.headers import Pair
from amiproto.messaging import HEADERS, MessageFields

from .versions import Version

M = TypeVar("M", bound=Message)

#: The result of a handler: messages to send, a step, or None for the usual response.
HandlerResult = Union[None, "Delay", "Disconnect", "Output", "EventList", Iterable[Message]]
Handler = Callable[[Action], HandlerResult]
Step = Union[Handler, "Delay", "Disconnect", "Output", "EventList"]


@dataclass(frozen=True)
class Delay:
    """Respond as usual after a delay in seconds. Other connections are served meanwhile."""

    seconds: float


@dataclass(frozen=True)
class Disconnect:
    """Close the connection after the first ``after`` bytes of the usual response."""

    after: int = 0


@dataclass(frozen=True)
class Output:
    """The output of a Command: raw text or ``Output`` headers, depending on the server's version.

    :ivar lines: the lines (sequence of str).
    :ivar bool refused: the CLI command is invalid: the response is ``Error``, except on
        Asterisk 11, where only the lines say so.
    """

    lines: Sequence[str]
    refused: bool = False

    def responses(self, action: Action, version: Version) -> Iterable[Message]:
        """Return the messages to send."""
        if version.has_raw_output:
            name, header = "Follows", ("Privilege", "Command")
        else:
            name = "Error" if self.refused else "Success"
            header = ("Message", "Command output follows")
        return [Response(name, [header], action_id=action.action_id, output=self.lines)]


@dataclass(frozen=True)
class EventList:
    """A list of events, marked by ``EventList`` headers or by words, depending on the version.

    :ivar events: the items (sequence of :class:`amiproto.Event`, without ActionIDs). The final
        event is added; its name is that of the action and ``Complete``.
    :ivar str message: the message of the response. For Asterisk 11 it must end in
        ``will follow``.
    """

    events: Sequence[Event]
    message: str = "List will follow"

    def responses(self, action: Action, version: Version) -> Iterable[Message]:
        """Return the messages to send."""
        start, end = [("Message", self.message)], []
        if action.name.lower() not in version.lists_by_words:
            start.insert(0, ("EventList", "start"))
            end = [("EventList", "Complete"), ("ListItems", str(len(self.events)))]
        yield _with_id(action, Response("Success", start))
        for event in self.events:
            yield _with_id(action, event)
        yield _with_id(action, Event(f"{action.name}Complete", end), version.writes_id_last)


def action_id_line(action: Message) -> bytes:
    """Return the line with the ActionID of an action (bytes), or none.

    As bytes, because the server echoes the ActionID unchanged, even a bare CR in it.
    """
    action_id = get_header(action.wire, b"ActionID")
    return b"ActionID: %s\r\n" % action_id if action_id else b""


def response(
    action: Message,
    name: bytes,
    message: bytes = b"",
    lines: bytes = b"",
    max_id_line: Optional[int] = None,
) -> Response:
    """Return a response with the ActionID of an action.

    :param lines: more header lines (bytes).
    :param max_id_line: the bytes of the ActionID's line that are kept (int), or None for all.
    """
    wire = b"Response: %s\r\n" % name + action_id_line(action)[:max_id_line]
    if message:
        wire += b"Message: %s\r\n" % message
    return Response.from_wire(wire + lines + b"\r\n")


def _with_id(action: Action, message: M, is_last: bool = False) -> M:
    """Return a message with the ActionID of an action as its second or last header."""
    wire = message.wire
    place = len(wire) - 2 if is_last else wire.index(b"\r\n") + 2
    return type(message).from_wire(wire[:place] + action_id_line(action) + wire[place:])


def refuse(message: str = "Message failed to send.") -> Handler:
    """Return a handler that responds ``Error`` with this message."""

    def handler(action: Action) -> Iterable[Message]:
        return [_with_id(action, Response("Error", [("Message", message)]))]

    return handler


def no_response(action: Action) -> Iterable[Message]:
    """Send nothing: a handler for actions that never get a response."""
    return ()


class Received(MessageFields):
    """A message that the server accepted. Comparisons ignore ``action_id`` and ``wire``.

    :param body: the body (bytes; str is encoded as UTF-8). The other fields are those of
        :class:`amiproto.messaging.MessageFields`.
    :ivar action_id: the ActionID (str), or None.
    :ivar bytes wire: the received action.
    """

    action_id: Optional[str]
    wire: bytes

    def __new__(
        cls,
        to: str,
        body: Union[str, bytes] = b"",
        from_: Optional[str] = None,
        variables: Tuple[Pair, ...] = (),
        destination: Optional[str] = None,
        action_id: Optional[str] = None,
        wire: bytes = b"",
    ) -> Received:
        body = to_bytes(body) if isinstance(body, str) else body
        received = super().__new__(cls, to, body, from_, variables, destination)
        received.action_id = action_id
        received.wire = wire
        return received

    @classmethod
    def of(cls, message: MessageSend) -> Received:
        """Return the content of a MessageSend."""
        return cls(*message.fields, action_id=message.action_id, wire=message.wire)

    @property
    def text(self) -> str:
        """The body as str; bytes that are not UTF-8 become lone surrogates."""
        return to_text(self.body)

    def __repr__(self) -> str:
        values = {**self._asdict(), "action_id": self.action_id}
        return f"Received({', '.join(f'{name}={value!r}' for name, value in values.items())})"

    def __str__(self) -> str:
        """Format the message for people, one header a line."""
        headers = {header: getattr(self, name) for name, header in HEADERS.items()}
        variables, _ = headers.pop("Variable"), headers.pop("Body")
        lines = [f"  {name}: {value}" for name, value in headers.items() if value is not None]
        lines += [f"  Variable: {name}={value}" for name, value in variables]
        return "\n".join([*lines, f"  Body: {self.text!r}"])
