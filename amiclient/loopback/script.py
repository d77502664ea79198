"""What a test may ask of the server beside the usual: answers, refusals, delays, silence, cuts."""

from __future__ import annotations

from dataclasses import dataclass

from amiproto import Event, Response

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Iterable, Sequence, Union

    from amiproto import Action, Message

    from .versions import Version

    #: What becomes of an action: None is as usual.
    Treatment = Union[None, "Delay", "Cut", "Output", "Listing", Iterable[Message]]
    Handler = Callable[[Action], Treatment]
    Step = Union[Handler, "Delay", "Cut", "Output", "Listing"]


@dataclass(frozen=True)
class Delay:
    """As usual, after so many seconds; others are served in the meantime."""

    seconds: float


@dataclass(frozen=True)
class Cut:
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
class Listing:
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


def silence(action: Action) -> Iterable[Message]:
    """A handler that never answers."""
    return ()
