"""The registry: which technology a target names."""

from __future__ import annotations

from types import MappingProxyType

from .pjsip import PJSIP
from .sip import SIP
from .technology import Technology
from .xmpp import XMPP

#: Every technology that has rules of its own.
TECHNOLOGIES = (
    SIP(),
    PJSIP(),
    XMPP(),
)

_BY_NAME = MappingProxyType({technology.name: technology for technology in TECHNOLOGIES})
_AMI = Technology()


def technology_of(target: str) -> Technology:
    """The rules for a target: those of the technology before its first colon, or of AMI alone.

    :param target: the value of the header that routes (str).
    """
    return _BY_NAME.get(target.partition(":")[0].lower(), _AMI)
