"""What AMI itself does to a message, whatever carries it from there: the rules that always hold.

A channel technology (``sip``, ``pjsip``, ``xmpp``) is a subclass in a module of its own, with the
rules that it adds. They stand in no specification: they were found by sending to real servers and
looking at what arrived.
"""

from __future__ import annotations

import re

from ..errors import AddressRefused, BodyRefused, VariableRefused
from ..limits import AMI_WITHOUT_DESTINATION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List, Optional

    from ..headers import Pair
    from ..messages import Banner

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

    def check(
        self,
        to: str,
        from_: Optional[str],
        destination: Optional[str],
        body: bytes,
        variables: List[Pair],
    ) -> None:
        """Refuse a message that would not arrive as it is asked for.

        :raises AddressRefused, BodyRefused, VariableRefused: naming what would happen to it.
        """
        check_address("To", to)
        if from_ is not None:
            check_address("From", from_)
        self.check_from(from_)
        if destination is None:
            self.check_target("To", to)
        else:
            check_address("Destination", destination)
            self.check_target("Destination", destination)
            self.check_to_beside_destination(to, destination)
        self.check_body(body)
        self.check_variables(variables)

    def check_server(
        self, to: str, from_: Optional[str], destination: Optional[str], banner: Banner
    ) -> None:
        """Refuse a message that is exact on some versions of the server, and not on this one.

        :raises AddressRefused: naming what would happen to it.
        """
        if destination is not None and banner.major in AMI_WITHOUT_DESTINATION:
            raise AddressRefused(
                f"a server of AMI {banner.version} knows no Destination and would route by "
                "To; put the destination there",
                field="Destination",
            )

    def check_target(self, field: str, target: str) -> None:
        """Refuse a To, or a Destination, that would lead elsewhere or take more along."""

    def check_to_beside_destination(self, to: str, destination: str) -> None:
        """Refuse a To that does not route, and that the phone would not see as it is written."""

    def check_from(self, from_: Optional[str]) -> None:
        """Refuse a From that the phone would not see as it is written."""

    def check_body(self, body: bytes) -> None:
        """Refuse a text that no encoding carries unchanged."""
        if 0 in body:
            raise BodyRefused(
                "the text holds a NUL, where the server would cut it off; remove it", field="Body"
            )

    def check_variables(self, variables: List[Pair]) -> None:
        """Refuse variables that would be dropped, changed, or do damage."""
        seen = set()
        for name, value in variables:
            self.check_name(name)
            self.check_value(name, value)
            lowered = name.lower()
            if lowered in seen:
                raise VariableRefused(
                    f"the variable {name!r} is given twice; servers disagree on which one counts; "
                    "give it once",
                    field=name,
                )
            seen.add(lowered)

    def check_name(self, name: str) -> None:
        """Refuse a name of a variable that the server would read otherwise."""
        if not name or name[0] == " " or _NO_NAME.search(name):
            raise VariableRefused(
                f"the variable name {name!r} is empty, starts with a blank, or has an equals sign, "
                "a control character or a lone surrogate; give another",
                field=name,
            )

    def check_value(self, name: str, value: str) -> None:
        """Refuse a value of a variable that the server would not send as it is."""
        if not value:
            raise VariableRefused(
                f"the variable {name!r} is empty, and no server sends an empty one; leave it out",
                field=name,
            )
        if value.isprintable():
            return
        if "\r" in value or "\n" in value or "\0" in value:
            raise VariableRefused(
                f"the value of the variable {name!r} holds a CR, LF or NUL; remove it", field=name
            )
        if _SURROGATE.search(value):
            raise VariableRefused(
                f"the value of the variable {name!r} holds a lone surrogate; remove it", field=name
            )


def check_address(field: str, value: str) -> None:
    """Refuse an address that AMI itself would not carry as it is.

    :raises AddressRefused: for an empty one, a blank in front, control characters, surrogates.
    """
    if not value:
        advice = "name whom to send to" if field == "To" else "name one, or leave it out"
        raise AddressRefused(f"{field} is empty; {advice}", field=field)
    if value[0] == " ":
        raise AddressRefused(
            f"{field} starts with a blank, which the server strips; remove it", field=field
        )
    if value.isprintable():
        return
    if _CONTROL.search(value):
        raise AddressRefused(
            f"{field} holds a control character, which would end the line or be changed; "
            "remove it",
            field=field,
        )
    if _SURROGATE.search(value):
        raise AddressRefused(
            f"{field} holds a lone surrogate, which UTF-8 cannot carry; remove it", field=field
        )
