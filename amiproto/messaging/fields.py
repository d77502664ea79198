"""The fields of a message, and their names in AMI, JSON and CSV."""

from __future__ import annotations

from types import MappingProxyType
from typing import Dict, Mapping, NamedTuple, Optional, Tuple

from ..headers import Pair


class MessageFields(NamedTuple):
    """The fields of a message, without its ActionID.

    Technologies check them, and the command and the loopback server derive their keys from them and
    from :data:`HEADERS`. The names are those of the arguments of :class:`MessageSend` and of
    ``Client.send_message``, in the same order.

    :ivar str to: the ``To`` header.
    :ivar bytes body: the body, sent as ``Body`` or ``Base64Body``.
    :ivar from_: the ``From`` header (str), or None.
    :ivar variables: pairs of name and value (tuple of tuples of str), in order.
    :ivar destination: the ``Destination`` header (str), or None.
    """

    to: str
    body: bytes = b""
    from_: Optional[str] = None
    variables: Tuple[Pair, ...] = ()
    destination: Optional[str] = None

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
        shown = {name: repr(value) for name, value in self._asdict().items()}
        shown["body"] = f"{len(self.body)} bytes"
        shown["variables"] = repr([name for name, _ in self.variables])
        return " ".join([f"{name}={text}" for name, text in shown.items()])

    def __repr__(self) -> str:
        return f"<MessageFields {self.summary()}>"


#: The AMI header of each field, which is also the ``field`` of an error about it. The body is sent
#: as ``Body`` or ``Base64Body``.
HEADERS: Mapping[str, str] = MappingProxyType({
    "to": "To", "body": "Body", "from_": "From", "variables": "Variable",
    "destination": "Destination",
})  # fmt: skip


def field_keys() -> Dict[str, str]:
    """Return the key of each field in JSON and CSV, and the argument of that field.

    >>> field_keys()["from"]
    'from_'
    """
    return {name.rstrip("_"): name for name in MessageFields._fields}
