"""What AMI itself does to a message, whatever carries it from there: the rules that always hold.

A channel technology (``sip``, ``pjsip``, ``xmpp``) is a subclass in a module of its own, with the
rules that it adds. They stand in no specification: they were found by sending to real servers and
looking at what arrived.

The registry: which technology a target names.
"""

from __future__ import annotations

import re
from typing import Dict, Type, TypeVar

from ..exceptions import InvalidAddress, InvalidBody, InvalidVariable
from ..limits import AMI_WITHOUT_DESTINATION
from ..messages import Banner
from .fields import MessageFields

_CONTROL = re.compile("[\x00-\x1f\x7f]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_NO_NAME = re.compile("[\x00-\x1f\x7f=\ud800-\udfff]")


class Technology:
    """The rules for one channel technology; this base has those of AMI itself.

    A subclass overrides what it has more to say about, and calls the base first. It has no state:
    one object serves all messages.
    """

    __slots__ = ()
    #: What stands before the first colon of a target.
    name = ""

    def check(self, fields: MessageFields) -> None:
        """Refuse a message that would not arrive as it is asked for.

        :raises InvalidAddress, InvalidBody, InvalidVariable: naming what would happen to it.
        """
        check_address("To", fields.to)
        if fields.from_ is not None:
            check_address("From", fields.from_)
        self.check_from(fields)
        if fields.destination is not None:
            check_address("Destination", fields.destination)
        self.check_target(fields)
        if fields.destination is not None:
            self.check_to_with_destination(fields)
        self.check_body(fields)
        self.check_variables(fields)

    def check_server(self, fields: MessageFields, banner: Banner) -> None:
        """Refuse a message that is exact on some versions of the server, and not on this one.

        :raises InvalidAddress: naming what would happen to it.
        """
        if fields.destination is not None and banner.major in AMI_WITHOUT_DESTINATION:
            raise InvalidAddress(
                f"a server of AMI {banner.version} knows no Destination and would route by "
                "To; put the destination there",
                field="Destination",
            )

    def check_target(self, fields: MessageFields) -> None:
        """Refuse a To, or a Destination, that would lead elsewhere or take more along."""

    def check_to_with_destination(self, fields: MessageFields) -> None:
        """Refuse a To that does not route, and that the phone would not see as it is written."""

    def check_from(self, fields: MessageFields) -> None:
        """Refuse a From that the phone would not see as it is written."""

    def check_body(self, fields: MessageFields) -> None:
        """Refuse a text that no encoding carries unchanged."""
        if 0 in fields.body:
            raise InvalidBody(
                "the text holds a NUL, where the server would cut it off; remove it", field="Body"
            )

    def check_variables(self, fields: MessageFields) -> None:
        """Refuse variables that would be dropped, changed, or do damage."""
        seen = set()
        for name, value in fields.variables:
            self.check_name(name)
            self.check_value(name, value)
            lowered = name.lower()
            if lowered in seen:
                raise InvalidVariable(
                    f"the variable {name!r} is given twice; servers disagree on which one counts; "
                    "give it once",
                    field=name,
                )
            seen.add(lowered)

    def check_name(self, name: str) -> None:
        """Refuse a name of a variable that the server would read otherwise."""
        if not name or name[0] == " " or _NO_NAME.search(name):
            raise InvalidVariable(
                f"the variable name {name!r} is empty, starts with a blank, or has an equals sign, "
                "a control character or a lone surrogate; give another",
                field=name,
            )

    def check_value(self, name: str, value: str) -> None:
        """Refuse a value of a variable that the server would not send as it is."""
        if not value:
            raise InvalidVariable(
                f"the variable {name!r} is empty, and no server sends an empty one; leave it out",
                field=name,
            )
        if value.isprintable():
            return
        if "\r" in value or "\n" in value or "\0" in value:
            raise InvalidVariable(
                f"the value of the variable {name!r} holds a CR, LF or NUL; remove it", field=name
            )
        if _SURROGATE.search(value):
            raise InvalidVariable(
                f"the value of the variable {name!r} holds a lone surrogate; remove it", field=name
            )


def check_address(field: str, value: str) -> None:
    """Refuse an address that AMI itself would not carry as it is.

    :raises InvalidAddress: for an empty one, a blank in front, control characters, surrogates.
    """
    if not value:
        advice = "name whom to send to" if field == "To" else "name one, or leave it out"
        raise InvalidAddress(f"{field} is empty; {advice}", field=field)
    if value[0] == " ":
        raise InvalidAddress(
            f"{field} starts with a blank, which the server strips; remove it", field=field
        )
    if value.isprintable():
        return
    if _CONTROL.search(value):
        raise InvalidAddress(
            f"{field} holds a control character, which would end the line or be changed; "
            "remove it",
            field=field,
        )
    if _SURROGATE.search(value):
        raise InvalidAddress(
            f"{field} holds a lone surrogate, which UTF-8 cannot carry; remove it", field=field
        )


#: Every technology that has rules of its own, by its name; :func:`register` adds one.
TECHNOLOGIES: Dict[str, Technology] = {}

_AMI = Technology()

T = TypeVar("T", bound=Technology)


def register(technology: Type[T]) -> Type[T]:
    """Add a technology to :data:`TECHNOLOGIES`; a decorator for its class."""
    TECHNOLOGIES[technology.name] = technology()
    return technology


#: What a channel technology may be called. Asterisk compares the names byte for byte, and all of
#: its own are in small letters (16.28, 22.10).
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_+.\-]*")


def get_technology(target: str) -> Technology:
    """The rules for a target: those of the technology before its first colon, or of AMI alone.

    :param target: the value of the header that routes (str).
    """
    return TECHNOLOGIES.get(target.partition(":")[0], _AMI)


def check_technology(field: str, target: str) -> None:
    """Refuse a target that can name no technology, so that the server would find none.

    :raises InvalidAddress: naming what is missing; or as for any address.
    """
    name, colon, rest = target.partition(":")
    if name in TECHNOLOGIES and rest:
        return
    check_address(field, target)
    if not colon or not _NAME.fullmatch(name):
        hint = re.sub(f"(?i)^(?:{'|'.join(TECHNOLOGIES)})[ /.,;@-]+", "", target)
        raise InvalidAddress(
            f"{field} {target!r} names no technology, such as pjsip: or sip:, in front; write "
            f"{'pjsip:' + hint!r} where pjsip carries it",
            field=field,
        )
    if name.lower() in TECHNOLOGIES and name not in TECHNOLOGIES:
        raise InvalidAddress(
            f"{field} {target!r} has the name of its technology in capitals, which servers do not "
            f"find; write {name.lower() + ':' + rest!r}",
            field=field,
        )
    if not rest:
        raise InvalidAddress(
            f"{field} {target!r} ends with the technology's name; write after the colon whom to "
            "send to",
            field=field,
        )
