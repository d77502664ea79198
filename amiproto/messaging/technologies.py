"""The registry: which technology a target names."""

from __future__ import annotations

import re
from types import MappingProxyType

from ..errors import AddressRefused
from .pjsip import PJSIP
from .sip import SIP
from .technology import Technology, check_address
from .xmpp import XMPP

#: Every technology that has rules of its own.
TECHNOLOGIES = (
    SIP(),
    PJSIP(),
    XMPP(),
)

_BY_NAME = MappingProxyType({technology.name: technology for technology in TECHNOLOGIES})
_AMI = Technology()

#: What a channel technology may be called. Asterisk compares the names byte for byte, and all of
#: its own are in small letters (16.28, 22.10).
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_+.\-]*")


def technology_of(target: str) -> Technology:
    """The rules for a target: those of the technology before its first colon, or of AMI alone.

    :param target: the value of the header that routes (str).
    """
    return _BY_NAME.get(target.partition(":")[0], _AMI)


def check_technology(field: str, target: str) -> None:
    """Refuse a target that can name no technology, so that the server would find none.

    :raises AddressRefused: naming what is missing; or as for any address.
    """
    name, colon, rest = target.partition(":")
    if name in _BY_NAME and rest:
        return
    check_address(field, target)
    if not colon or not _NAME.fullmatch(name):
        hint = re.sub(f"(?i)^(?:{'|'.join(_BY_NAME)})[ /.,;@-]+", "", target)
        raise AddressRefused(
            f"{field} {target!r} names no technology, such as pjsip: or sip:, in front; write "
            f"{'pjsip:' + hint!r} where pjsip carries it",
            field=field,
        )
    if name.lower() in _BY_NAME and name not in _BY_NAME:
        raise AddressRefused(
            f"{field} {target!r} has the name of its technology in capitals, which servers do not "
            f"find; write {name.lower() + ':' + rest!r}",
            field=field,
        )
    if not rest:
        raise AddressRefused(
            f"{field} {target!r} ends with the technology's name; write after the colon whom to "
            "send to",
            field=field,
        )
