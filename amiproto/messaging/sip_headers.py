"""What chan_sip and pjsip have in common: variables become headers of one SIP message."""

from __future__ import annotations

import re
from types import MappingProxyType

from ..errors import VariableRefused
from ..limits import MAX_ACTION_LINE, MAX_DATAGRAM
from .technology import Technology

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List, Optional

    from ..headers import Pair

#: A header name in SIP (RFC 3261, token). The server passes any other name through, blanks and
#: colons too, into a message that no phone can read (all of 11.25, 16.28, 22.10).
TOKEN = r"[A-Za-z0-9\-.!%*_+`'~]+"

#: Names that chan_sip and pjsip keep for themselves and drop from a message (16.28, 22.10);
#: Request-URI would even become the request line of chan_sip.
DROPPED_VARIABLES = frozenset(
    "to from via route contact call-id cseq allow content-length request-uri".split()
)

#: Headers that both stacks write themselves, under their compact names, which neither drops: the
#: phone gets two of it, From or Content-Length among them, and takes either (16.28, 22.10).
COMPACT_VARIABLES = MappingProxyType({
    "c": "Content-Type", "f": "From", "i": "Call-ID", "l": "Content-Length", "m": "Contact",
    "t": "To", "v": "Via",
})  # fmt: skip

#: Counted down by one before it is sent; a bad value makes chan_sip fail, and pjsip drop the
#: variables after it (16.28, 22.10).
DAMAGING_VARIABLES = frozenset({"max-forwards"})

#: Bytes that the headers of the server's own take at the most, addresses not counted; real ones
#: have 450 with a short host name (16.28, 22.10).
_SERVERS_HEADERS = 1024

#: Fewer lines of AMI than this cannot fill a datagram, whatever is in them.
_MANY_VARIABLES = MAX_DATAGRAM // MAX_ACTION_LINE // 2

_NAME = re.compile(TOKEN)


class SIPHeaders(Technology):
    """A technology whose messages are SIP requests."""

    __slots__ = ()

    def check(
        self,
        to: str,
        from_: Optional[str],
        destination: Optional[str],
        body: bytes,
        variables: List[Pair],
    ) -> None:
        """Refuse what one datagram does not hold, too."""
        super().check(to, from_, destination, body, variables)
        if len(variables) < _MANY_VARIABLES:
            return
        size = len(body) + _SERVERS_HEADERS
        size += sum([len(f"{name}: {value}\r\n".encode()) for name, value in variables])
        # The addresses stand in several headers of the request.
        size += 3 * len(f"{to}{from_}{destination}".encode())
        if size > MAX_DATAGRAM:
            raise VariableRefused(
                f"the message would have about {size} bytes and a SIP datagram holds "
                f"{MAX_DATAGRAM}; send fewer or shorter variables",
                field="Variable",
                limit=MAX_DATAGRAM,
                actual=size,
            )

    def check_name(self, name: str) -> None:
        """Refuse a name that is none of SIP, or that the stacks drop, double or damage."""
        if not _NAME.fullmatch(name):
            super().check_name(name)
            raise VariableRefused(
                f"the variable name {name!r} is no SIP header name; use letters, digits and "
                "-.!%*_+`'~",
                field=name,
            )
        lowered = name.lower()
        if lowered in DROPPED_VARIABLES:
            raise VariableRefused(
                f"the server keeps {name!r} for itself and drops yours; use another name",
                field=name,
            )
        if lowered in COMPACT_VARIABLES:
            raise VariableRefused(
                f"{name!r} is the short form of {COMPACT_VARIABLES[lowered]}, of which the phone "
                "would get two; use another name",
                field=name,
            )
        if lowered in DAMAGING_VARIABLES:
            raise VariableRefused(
                f"{name!r} is changed, makes the server fail, or drops what comes after it; leave "
                "it out",
                field=name,
            )
