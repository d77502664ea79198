"""What a test may ask of the server beside the usual: answers, refusals, delays, silence, cuts.

A message as a server understood it, equal to another whatever their ActionIDs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Callable, Iterable, Optional, Sequence, Tuple, Union

from amiproto import Action, Event, Message, MessageSend, Response
from amiproto._text import to_bytes

from .versions import Version

#: What becomes of an action: None is as usual.
HandlerResult = Union[None, "Delay", "Disconnect", "Output", "EventList", Iterable[Message]]
Handler = Callable[[Action], HandlerResult]
Step = Union[Handler, "Delay", "Disconnect", "Output", "EventList"]


@dataclass(frozen=True)
class Delay:
    """As usual, after so many seconds; others are served in the meantime."""

    seconds: float


@dataclass(frozen=True)
class Disconnect:
    """As usual, but only so many bytes of the answer; then the connection is closed."""

    after: int = 0


@dataclass(frozen=True)
class Output:
    """The output of a Command, as the server's version writes it: raw text, or ``Output`` headers.

    :ivar lines: its lines (sequence of str).
    :ivar bool refused: whether the CLI did not take the command: an ``Error``, but on Asterisk 11,
        where the lines alone say so.
    """

    lines: Sequence[str]
    refused: bool = False

    def answer(self, action: Action, version: Version) -> Iterable[Message]:
        """The messages that answer an action."""
        key = action.action_id
        if version.has_raw_output:
            headers = [("Privilege", "Command")]
            return [Response("Follows", headers, action_id=key, output=self.lines)]
        name = "Error" if self.refused else "Success"
        headers = [("Message", "Command output follows")]
        return [Response(name, headers, action_id=key, output=self.lines)]


@dataclass(frozen=True)
class EventList:
    """A list, as the server's version writes it: between ``EventList`` headers, or words alone.

    :ivar events: what is listed (sequence of :class:`amiproto.Event`, without ActionIDs).
    :ivar str message: the first answer's words, which on Asterisk 11 have to end in
        ``will follow``. The event at the end has the action's name and ``Complete``.
    """

    events: Sequence[Event]
    message: str = "List will follow"

    def answer(self, action: Action, version: Version) -> Iterable[Message]:
        """The messages that answer an action."""
        key = action.action_id
        start, end = [("Message", self.message)], []
        if version.has_event_lists:
            start.insert(0, ("EventList", "start"))
            end = [("EventList", "Complete"), ("ListItems", str(len(self.events)))]
        yield Response("Success", start, action_id=key)
        for event in self.events:
            yield Event(event.name, event.headers.items()[1:], action_id=key)
        yield Event(f"{action.name}Complete", end, action_id=key)


def refuse(message: str = "Message failed to send.") -> Handler:
    """A handler that answers ``Error`` and such a message, and does nothing."""

    def handler(action: Action) -> Iterable[Message]:
        return [Response("Error", [("Message", message)], action_id=action.action_id)]

    return handler


def no_response(action: Action) -> Iterable[Message]:
    """A handler that never answers."""
    return ()


@dataclass(frozen=True)
class Received:
    """A message that the server took; two are equal whatever their ActionIDs.

    :ivar str to: the ``To`` header.
    :ivar str text: the text (bytes that are no UTF-8 as lone surrogates).
    :ivar from_: the ``From`` header (str), or None.
    :ivar variables: pairs of name and value (tuple of tuples of str), in order.
    :ivar destination: the ``Destination`` header (str), or None.
    :ivar action_id: the ActionID (str), or None; not compared.
    :ivar bytes wire: the action as it came; not compared.
    """

    to: str
    text: str
    from_: Optional[str] = None
    variables: Tuple[Tuple[str, str], ...] = ()
    destination: Optional[str] = None
    action_id: Optional[str] = field(default=None, compare=False)
    wire: bytes = field(default=b"", compare=False, repr=False)

    @classmethod
    def of(cls, message: MessageSend) -> Received:
        """What a MessageSend says."""
        return cls(
            message.to, message.text, message.from_, tuple(message.variables),
            message.destination, message.action_id, message.wire,
        )  # fmt: skip

    @property
    def body(self) -> bytes:
        """The text as it arrived (bytes)."""
        return to_bytes(self.text)

    def __str__(self) -> str:
        """A line for each thing it says, for people."""
        lines = [f"  To: {self.to}"]
        if self.from_ is not None:
            lines.append(f"  From: {self.from_}")
        if self.destination is not None:
            lines.append(f"  Destination: {self.destination}")
        lines += [f"  Variable: {name}={value}" for name, value in self.variables]
        return "\n".join([*lines, f"  Body: {self.text!r}"])
