"""Channel technologies: the rules that a message must obey, and the registry of technologies.

:class:`Technology` has the rules of AMI itself. A channel technology (``sip``, ``pjsip``, ``xmpp``)
is a subclass, in its own module, that adds rules. They are not in any specification: they were
found by sending to real servers and looking at the messages that arrived.
"""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import Dict, Mapping, Pattern, Tuple, Type, TypeVar

from ..exceptions import InvalidAddress, InvalidBody, InvalidVariable, LineTooLong, quote
from ..limits import AMI_WITHOUT_DESTINATION, MAX_ACTION_LINE, MAX_DATAGRAM
from ..messages import Banner
from .fields import MessageFields

_CONTROL = re.compile("[\x00-\x1f\x7f]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_VARIABLE_NAME = re.compile("(?! )[^\x00-\x1f\x7f=\ud800-\udfff]+")
_INVALID_IN_VALUE = re.compile("[\r\n\0\ud800-\udfff]")

#: Messages with fewer variables cannot fill a datagram.
_MANY_VARIABLES = MAX_DATAGRAM // MAX_ACTION_LINE // 2

#: By the name of a variable in lower case: a pattern for its valid values, and the error for all
#: others.
VariableRules = Mapping[str, Tuple[Pattern[str], str]]

#: The pattern for a variable that cannot be sent, whatever its value.
NEVER = re.compile("(?!)")


class Technology:
    """The rules of AMI itself, and the base class of every channel technology.

    A subclass sets :attr:`name` and overrides the checks that it extends. It has no state: one
    object checks all messages. A check raises :exc:`InvalidAddress`, :exc:`InvalidBody`,
    :exc:`InvalidVariable` or :exc:`LineTooLong`.
    """

    __slots__ = ()
    #: The prefix of a target, without its colon.
    name = ""
    #: The names that variables can have, as a pattern and in words. A subclass may only narrow it.
    variable_names: Pattern[str] = _VARIABLE_NAME
    variable_names_hint = (
        "it must not be empty, start with a space, or contain '=', control characters or lone "
        "surrogates"
    )
    #: Further rules for variables of certain names.
    variable_rules: VariableRules = MappingProxyType({})

    def check(self, fields: MessageFields) -> MessageFields:
        """Return the fields to send; reject those that Asterisk would alter, misroute or drop."""
        fields = self.strip(fields)
        from_, destination = fields.from_, fields.destination
        check_address("To", fields.to)
        if from_ is not None:
            check_address("From", from_)
        if destination is not None:
            check_address("Destination", destination)
        self.check_from(fields)
        self.check_target(fields)
        if destination is not None:
            self.check_to_with_destination(fields)
        if 0 in fields.body:
            raise InvalidBody("body contains NUL, where the server would truncate it", field="Body")
        variables = fields.variables
        if variables:
            self.check_variables(fields)
            if len(variables) >= _MANY_VARIABLES:
                self.check_size(fields)
        return fields

    def strip(self, fields: MessageFields) -> MessageFields:
        """Return the fields without leading spaces that have no meaning; the server strips them."""
        return fields

    def check_server(self, fields: MessageFields, banner: Banner) -> None:
        """Reject a message that a server of this version would not send exactly."""
        # A server that ignores Destination routes by To.
        differs = fields.destination not in (None, fields.to)
        if differs and banner.major in AMI_WITHOUT_DESTINATION:
            raise InvalidAddress(
                f"AMI {banner.version} ignores Destination and would route by To; use To alone",
                field="Destination",
            )

    def check_target(self, fields: MessageFields) -> None:
        """Check the address that routes the message: To, or Destination if given."""

    def check_to_with_destination(self, fields: MessageFields) -> None:
        """Check a To that does not route, because there is a Destination."""

    def check_from(self, fields: MessageFields) -> None:
        """Check the From, which can be missing."""

    def check_size(self, fields: MessageFields) -> None:
        """Check the size of a message with many variables; all others are small enough."""

    def check_variables(self, fields: MessageFields) -> None:
        """Check the variables, of which there is at least one."""
        seen = set()
        for name, value in fields.variables:
            lowered = name.lower()
            rule = self.variable_rules.get(lowered)
            if not self.variable_names.fullmatch(name):
                problem = f"has an invalid name: {self.variable_names_hint}"
            elif rule is not None and not rule[0].fullmatch(value):
                problem = rule[1]
            elif lowered in seen:
                problem = "is given twice; Asterisk versions disagree about which value counts"
            elif not value:
                problem = "has an empty value, which Asterisk does not send; omit it"
            elif not value.isprintable() and _INVALID_IN_VALUE.search(value):
                problem = "contains CR, LF, NUL or a lone surrogate, which cannot be sent"
            else:
                seen.add(lowered)
                continue
            raise InvalidVariable(f"variable {quote(name)} {problem}", field=name)


def check_address(header: str, address: str) -> None:
    """Check the value of To, From or Destination by the rules of AMI itself.

    :raises LineTooLong: if it has more characters than a line of an action has bytes.
    :raises InvalidAddress: if it is empty, starts with a space, or contains control characters or
        surrogates.
    """
    if not address:
        raise InvalidAddress(f"{header} must not be empty", field=header)
    if len(address) > MAX_ACTION_LINE - len(header) - len(": "):
        # Checked before any pattern. The line of a shorter address is checked when it is encoded.
        size = len(f"{header}: {address}".encode("utf-8", "surrogatepass"))
        raise LineTooLong(
            f"the {header} line is {size} bytes; the limit is {MAX_ACTION_LINE}",
            field=header,
            limit=MAX_ACTION_LINE,
            actual=size,
        )
    if address[0] == " ":
        raise InvalidAddress(
            f"{header} must not start with a space, which the server strips", field=header
        )
    if address.isprintable():
        return
    if _CONTROL.search(address):
        raise InvalidAddress(
            f"{header} contains a control character, which would end the line or be altered",
            field=header,
        )
    if _SURROGATE.search(address):
        raise InvalidAddress(
            f"{header} contains a lone surrogate, which cannot be encoded as UTF-8", field=header
        )


#: The registered technologies by name.
TECHNOLOGIES: Dict[str, Technology] = {}

#: The rules for every technology that is not registered.
_DEFAULT = Technology()

T = TypeVar("T", bound=Technology)


def register(technology: Type[T]) -> Type[T]:
    """Add a technology to :data:`TECHNOLOGIES`; a class decorator."""
    TECHNOLOGIES[technology.name] = technology()
    return technology


#: The name of any technology. Asterisk compares names byte for byte; its own are in lower case
#: (16.28, 22.10).
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_+.\-]*")


def get_technology(target: str) -> Technology:
    """Return the technology that a target names, or the rules of AMI alone.

    :param target: the value of the header that routes (str).
    """
    return TECHNOLOGIES.get(target.partition(":")[0], _DEFAULT)


def find_technology(fields: MessageFields) -> Technology:
    """Return the technology of a message; reject a target that names none a server can find.

    :raises InvalidAddress: also as :func:`check_address`.
    """
    target = fields.target
    name, colon, rest = target.partition(":")
    technology = TECHNOLOGIES.get(name)
    if technology is not None and rest:
        return technology
    header = fields.target_header
    check_address(header, target)
    if not colon or not _NAME.fullmatch(name):
        address = re.sub(f"(?i)^(?:{'|'.join(map(re.escape, TECHNOLOGIES))})[ /.,;@-]+", "", target)
        raise InvalidAddress(
            f"{header} {quote(target)} has no technology prefix such as pjsip: or sip:; did you "
            f"mean {quote('pjsip:' + address)}?",
            field=header,
        )
    if name.lower() in TECHNOLOGIES and name not in TECHNOLOGIES:
        raise InvalidAddress(
            f"{header} {quote(target)}: technology prefixes are case-sensitive; use "
            f"{quote(name.lower() + ':' + rest)}",
            field=header,
        )
    if not rest:
        raise InvalidAddress(
            f"{header} {quote(target)} has no address after the technology prefix", field=header
        )
    return _DEFAULT
