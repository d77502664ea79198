"""Messages that res_xmpp sends: ``xmpp:user@host``, from an account of xmpp.conf."""

from __future__ import annotations

import re

from ..exceptions import InvalidAddress, InvalidBody, InvalidVariable
from .fields import MessageFields
from .technology import Technology, register

#: What XML 1.0 cannot hold (its production [2] Char) and the server puts raw into the stream
#: (16.28, 22.10), and CR, which XML turns into LF (XML 1.0, 2.11).
_NOT_XML = "[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"


@register
class XMPP(Technology):
    """``xmpp:`` (res_xmpp; 16.28 and 22.10)."""

    __slots__ = ()
    name = "xmpp"

    def check_to_with_destination(self, fields: MessageFields) -> None:
        """Refuse a To of its own: res_xmpp makes no use of it."""
        if fields.to != fields.destination:
            raise InvalidAddress(
                "where there is a Destination, xmpp makes no use of To; give the destination as "
                "To, too",
                field="To",
            )

    def check_from(self, fields: MessageFields) -> None:
        """Refuse a message without From: it names the account that sends."""
        if fields.from_ is None:
            raise InvalidAddress(
                "an xmpp message needs a From; give 'xmpp:' and the account's section of xmpp.conf",
                field="From",
            )

    def check_body(self, fields: MessageFields) -> None:
        """Refuse what would break the server's XML stream."""
        super().check_body(fields)
        try:
            found = re.search(_NOT_XML, fields.body.decode())
        except UnicodeDecodeError:
            raise InvalidBody(
                "the text is no UTF-8, which would break the server's XML stream; send UTF-8",
                field="Body",
            ) from None
        if found:
            raise InvalidBody(
                f"the text holds {found.group()!r} at character {found.start()}, which XML "
                "cannot carry to an xmpp client; remove it",
                field="Body",
            )

    def check_variables(self, fields: MessageFields) -> None:
        """Refuse any: res_xmpp ignores them all."""
        if fields.variables:
            raise InvalidVariable(
                "an xmpp message carries no variables: the server ignores them all; leave them out",
                field="Variable",
            )
