"""Messages that chan_sip sends, up to Asterisk 20: ``sip:peer``, ``sip:user@host``."""

from __future__ import annotations

import re

from ..errors import AddressRefused, VariableRefused
from ..limits import MAX_SIP_NAME, MAX_SIP_VARIABLES
from .sip_headers import SIPHeaders
from .sip_uri import HOST_NAME, USER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List, Optional

    from ..headers import Pair

# Patterns are compiled where they are used: programs that send nothing need not wait for that.

# What chan_sip (16.28) puts into From as it is: a name and a URI, or a name and a user. It drops
# port, password, parameters and headers, turns sips into sip, and loses the brackets of IPv6.
_SIP_FROM = (
    r"""(?:"((?:[^"\\]|\\.)+)"\ *|([^"\\<]*))"""
    rf"""<(?:[Ss][Ii][Pp]:({USER})@{HOST_NAME}|([^<>%@:]+))>\ *"""
)

# What chan_sip (16.28) sends to as it is written: a peer, user@peer, user@host:port. It escapes
# the user, percent signs too, and drops a display name, parameters and headers.
_SIP_TO = r"(?P<b><[Ss][Ii][Pp]:)?(?:([^%@<>]*)@)?[^%@<>;?/ ]+(?(b)>)"

# Bytes that chan_sip need not escape in a user (16.28).
_UNESCAPED = rb"[A-Za-z0-9\-_.!~*'()&=+$,;?/]"
_ESCAPE = rb"%(..)"
_PAIR = r"\\(.)"


class SIP(SIPHeaders):
    """``sip:`` (chan_sip; 11.25 and 16.28)."""

    __slots__ = ()
    name = "sip"

    def check_target(self, field: str, target: str) -> None:
        """Refuse what is neither a peer, user@peer nor user@host:port."""
        rest = target[4:]
        found = re.fullmatch(_SIP_TO, rest)
        if found is None or rest[:4].lower() == "sip:" or rest[:5].lower() == "sips:":
            raise AddressRefused(
                f"chan_sip would not send to {target!r} as it is written; write sip:peer, "
                "sip:user@peer or sip:user@host:port, without percent signs or anything behind",
                field=field,
            )
        user = found.group(2)
        if user is not None:
            _check_length(field, "user", _escaped_size(user.encode()))

    def check_to_beside_destination(self, to: str) -> None:
        """Refuse a To of its own: chan_sip makes no use of it."""
        raise AddressRefused(
            "where there is a Destination, sip makes no use of To; give the destination as To, too",
            field="To",
        )

    def check_from(self, from_: Optional[str]) -> None:
        """Refuse a From that chan_sip would change, cut or drop."""
        if from_ is None:
            return
        if "<" not in from_:
            if "@" in from_ or ":" in from_:
                raise AddressRefused(
                    f"chan_sip takes the bare address {from_!r} for a display name; "
                    f"write 'Name <sip:user@host>'",
                    field="From",
                )
            _check_length("From", "name", len(from_.encode()) + len(re.findall(r'["\\]', from_)))
            return
        found = re.fullmatch(_SIP_FROM, from_)
        if found is None:
            raise AddressRefused(
                f"chan_sip would change or drop the From {from_!r}; write 'Name <sip:user@host>', "
                "without port or parameters, and a name with a quote or backslash as "
                '"Name" with backslashes',
                field="From",
            )
        quoted, plain, user, extension = found.groups()
        if not quoted and not plain:
            raise AddressRefused(
                f"chan_sip puts its own name in front of {from_!r}; write 'Name {from_}'",
                field="From",
            )
        if user is None:
            _check_length("From", "user", _escaped_size(extension.encode()))
        else:
            decoded = re.sub(_ESCAPE, lambda found: bytes([int(found.group(1), 16)]), user.encode())
            _check_length("From", "user", _escaped_size(decoded))
        name = re.sub(_PAIR, r"\1", quoted) if quoted else plain.rstrip(" ")
        _check_length("From", "name", len(name.encode()) + len(re.findall(r'["\\]', name)))

    def check_name(self, name: str) -> None:
        """Refuse a User-Agent, too; pjsip takes one in place of its own (16.28, 22.10)."""
        super().check_name(name)
        if name.lower() == "user-agent":
            raise VariableRefused(
                f"chan_sip writes {name!r} itself, and the phone would get two; leave it out",
                field=name,
            )

    def check_variables(self, variables: List[Pair]) -> None:
        """Refuse more than chan_sip keeps."""
        super().check_variables(variables)
        # A Content-Type takes the place of chan_sip's own.
        count = len([name for name, _ in variables if name.lower() != "content-type"])
        if count > MAX_SIP_VARIABLES:
            raise VariableRefused(
                f"{count} variables, and chan_sip keeps {MAX_SIP_VARIABLES}, then drops headers; "
                "send fewer",
                field="Variable",
                limit=MAX_SIP_VARIABLES,
                actual=count,
            )


def _check_length(field: str, part: str, size: int) -> None:
    if size > MAX_SIP_NAME:
        raise AddressRefused(
            f"the {part} in {field} has {size} bytes as chan_sip writes it, and it would be cut "
            f"after {MAX_SIP_NAME}; shorten it",
            field=field,
            limit=MAX_SIP_NAME,
            actual=size,
        )


def _escaped_size(text: bytes) -> int:
    return 3 * len(text) - 2 * len(re.findall(_UNESCAPED, text))
