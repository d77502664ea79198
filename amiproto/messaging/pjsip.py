"""Messages that res_pjsip_messaging sends: ``pjsip:endpoint``, ``pjsip:endpoint/sip:...``."""

from __future__ import annotations

import re

from ..errors import AddressRefused, VariableRefused
from .sip_headers import TOKEN, SIPHeaders
from .sip_uri import HOST, USER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional

# Patterns are compiled where they are used: programs that send nothing need not wait for that.

# What pjsip (16.28, 22.10) puts into From as it is. It drops port, password, parameters and
# headers of a URI, turns sips into sip, and reads whatever is no SIP URI as USER or USER@HOST,
# with brackets and all. 16.28 cuts a From at its first semicolon, wherever it stands.
_PJSIP_FROM = (
    r"""(?:"(?:[^"\\;]|\\[^;])*"\ *|[^"\\<:;]*)"""
    rf"""<[Ss][Ii][Pp]:(?:{USER}@)?{HOST}>"""
    rf"""|[Ss][Ii][Pp]:(?:{USER}@)?{HOST}|{USER}(?:@{HOST})?"""
)

# What pjsip takes for the To header where Destination routes: 16.28 takes a name and brackets too,
# 22.10 ignores those; neither writes a port, nor every parameter.
_PJSIP_TO_HEADER = rf"(?:pjsip:)?[Ss][Ii][Pp]:(?:{USER}@)?{HOST}"

# What pjsip takes as a Content-Type: a type and a subtype, no parameters (16.28, 22.10).
_PLAIN_TYPE = rf"{TOKEN}/{TOKEN}"


class PJSIP(SIPHeaders):
    """``pjsip:`` (res_pjsip_messaging; 16.28 and 22.10)."""

    __slots__ = ()
    name = "pjsip"

    def check_target(self, field: str, target: str) -> None:
        """Refuse a name that no endpoint has, and headers in a URI."""
        if target[-1] == " ":
            # 16.28 and 22.10 look for an endpoint of that name, find none, and say Success.
            raise AddressRefused(
                f"{field} ends with a blank, which would be a part of the name; remove it", field=field
            )
        if "?" in target:
            _, at, rest = target.partition("@")
            if "?" in (rest if at else target):
                # 16.28 and 22.10 decode them and add them to the message: %0d%0a is a line end there.
                raise AddressRefused(
                    f"{field} has headers behind a question mark, which pjsip would put into the "
                    "message unchecked, line ends too; give them as variables",
                    field=field,
                )

    def check_to_beside_destination(self, to: str) -> None:
        """Refuse a To that pjsip does not put into the To header as it is."""
        if not re.fullmatch(_PJSIP_TO_HEADER, to):
            raise AddressRefused(
                "where there is a Destination, pjsip puts only a bare URI, such as "
                f"sip:user@host, into the To header, and not {to!r}",
                field="To",
            )

    def check_from(self, from_: Optional[str]) -> None:
        """Refuse a From that pjsip would change or drop."""
        if from_ is not None and not re.fullmatch(_PJSIP_FROM, from_):
            raise AddressRefused(
                f"pjsip would change or drop the From {from_!r}; write sip:user@host or "
                "'Name <sip:user@host>', without port, parameters or semicolon, and a name with "
                'a quote, backslash or colon as "Name" with backslashes',
                field="From",
            )

    def check_value(self, name: str, value: str) -> None:
        """Refuse a Content-Type with parameters, too."""
        super().check_value(name, value)
        if name.lower() == "content-type" and not re.fullmatch(_PLAIN_TYPE, value):
            raise VariableRefused(
                f"pjsip takes a type and a subtype such as text/plain as {name!r}, and no "
                "parameters; leave them out",
                field=name,
            )
