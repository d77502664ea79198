"""Messages that res_xmpp sends: ``xmpp:user@host``, from an account of xmpp.conf."""

from __future__ import annotations

import re

from ..exceptions import InvalidAddress, InvalidBody, InvalidVariable
from .fields import MessageFields
from .technology import Technology, register

#: Characters that XML 1.0 cannot contain (its production [2] Char) and that the server writes
#: unescaped into its XML stream (16.28, 22.10), and CR, which XML turns into LF (XML 1.0, 2.11).
_NOT_XML = "[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"


@register
class XMPP(Technology):
    """``xmpp:`` (res_xmpp; 16.28 and 22.10).

    A target is ``user@host``. A From is mandatory: ``xmpp:`` and the account's section of
    xmpp.conf. Variables are not supported.
    """

    __slots__ = ()
    name = "xmpp"

    def check_to_with_destination(self, fields: MessageFields) -> None:
        """Reject a To that differs from Destination: res_xmpp ignores it."""
        if fields.to != fields.destination:
            raise InvalidAddress(
                "res_xmpp ignores To if there is a Destination; use the same value for both",
                field="To",
            )

    def check_from(self, fields: MessageFields) -> None:
        """Reject a message without From, which names the account that sends."""
        if fields.from_ is None:
            raise InvalidAddress(
                "an xmpp: message needs a From: 'xmpp:' and the account's section of xmpp.conf",
                field="From",
            )

    def check(self, fields: MessageFields) -> MessageFields:
        """Reject also a body that would break the server's XML stream, or that XML would alter."""
        fields = super().check(fields)
        try:
            found = re.search(_NOT_XML, fields.body.decode())
        except UnicodeDecodeError:
            raise InvalidBody(
                "body is not valid UTF-8, which would break the server's XML stream", field="Body"
            ) from None
        if found:
            raise InvalidBody(
                f"body contains {found.group()!r} at index {found.start()}, which XML cannot carry",
                field="Body",
            )
        return fields

    def check_variables(self, fields: MessageFields) -> None:
        """Reject variables: res_xmpp ignores them all."""
        raise InvalidVariable("an xmpp: message cannot have variables", field="Variable")
