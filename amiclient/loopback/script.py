"""What a test may ask of the server beside the usual: refusals, delays, silence, cuts."""

from __future__ import annotations

from dataclasses import dataclass

from amiproto import Response

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Iterable, Union

    from amiproto import Action, Message

    #: What becomes of an action: None is as usual.
    Treatment = Union[None, "Delay", "Cut", Iterable[Message]]
    Handler = Callable[[Action], Treatment]
    Step = Union[Handler, "Delay", "Cut"]


@dataclass(frozen=True)
class Delay:
    """As usual, after so many seconds; others are served in the meantime."""

    seconds: float


@dataclass(frozen=True)
class Cut:
    """As usual, but only so many bytes of the answer; then the connection is closed."""

    after: int = 0


def refuse(message: str = "Message failed to send.") -> Handler:
    """A handler that answers ``Error`` and such a message, and does nothing."""

    def handler(action: Action) -> Iterable[Message]:
        return [Response("Error", [("Message", message)], action_id=action.action_id)]

    return handler


def silence(action: Action) -> Iterable[Message]:
    """A handler that never answers."""
    return ()
