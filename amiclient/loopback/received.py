"""A message as a server understood it, equal to another whatever their ActionIDs."""

from __future__ import annotations

from dataclasses import dataclass, field

from amiproto.text import to_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional, Tuple

    from amiproto import MessageSend


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
