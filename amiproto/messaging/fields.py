"""The fields of a message, listed once."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Dict, Optional, Tuple

from ..headers import Pair


@dataclass(frozen=True, repr=False)
class MessageFields:
    """The fields of a message, without its ActionID.

    This is the only list of them: :class:`MessageSend` is built from it and is read back as one,
    technologies check it, and the command and the loopback server derive their fields from
    :func:`dataclasses.fields`:

    - ``name`` is the argument of :class:`MessageSend` and of ``Client.send_message``, in order;
    - ``metadata["header"]`` is the AMI header, and the ``field`` of an error about it;
    - :func:`field_keys` gives the key in JSON and CSV: the name without a trailing underscore.

    :ivar str to: the ``To`` header.
    :ivar bytes body: the body, sent as ``Body`` or ``Base64Body``.
    :ivar from_: the ``From`` header (str), or None.
    :ivar variables: pairs of name and value (tuple of tuples of str), in order.
    :ivar destination: the ``Destination`` header (str), or None.
    """

    to: str = field(metadata={"header": "To"})
    body: bytes = field(default=b"", metadata={"header": "Body"})
    from_: Optional[str] = field(default=None, metadata={"header": "From"})
    variables: Tuple[Pair, ...] = field(default=(), metadata={"header": "Variable"})
    destination: Optional[str] = field(default=None, metadata={"header": "Destination"})

    @property
    def target(self) -> str:
        """The address that routes the message (str): ``destination`` if given, else ``to``."""
        return self.to if self.destination is None else self.destination

    @property
    def target_header(self) -> str:
        """The header of :attr:`target` (str): ``"Destination"`` or ``"To"``."""
        return "To" if self.destination is None else "Destination"

    @property
    def technology(self) -> str:
        """The technology prefix of :attr:`target`, without its colon, in lower case (str)."""
        return self.target.partition(":")[0].lower()

    def summary(self) -> str:
        """Return the fields for logs, without the body and the values of variables (str)."""
        shown = {item.name: repr(getattr(self, item.name)) for item in fields(MessageFields)}
        shown["body"] = f"{len(self.body)} bytes"
        shown["variables"] = repr([name for name, _ in self.variables])
        return " ".join([f"{name}={text}" for name, text in shown.items()])

    def __repr__(self) -> str:
        return f"<MessageFields {self.summary()}>"


def field_keys() -> Dict[str, str]:
    """Return the key of each field in JSON and CSV, and the argument of that field.

    >>> field_keys()["from"]
    'from_'
    """
    return {item.name.rstrip("_"): item.name for item in fields(MessageFields)}
