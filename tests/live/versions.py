"""The changes between versions of Asterisk that tests of live servers depend on, in one table."""

from __future__ import annotations

from typing import NamedTuple, Tuple


class Change(NamedTuple):
    """A change in the behaviour of Asterisk."""

    name: str
    #: The first release of each branch with the change. Newer branches have it, others do not.
    releases: Tuple[Tuple[int, ...], ...]

    def since(self, version: str) -> bool:
        """Return True if a version, such as ``16.28.0``, has the change."""
        number = tuple(map(int, version.split(".")))
        first = [release for release in self.releases if release[0] == number[0]]
        return number >= max(first or self.releases)

    def before(self, version: str) -> bool:
        """Return True if a version does not have the change."""
        return not self.since(version)

    def __str__(self) -> str:
        return self.name


def always(version: str) -> bool:
    """Return True for every version."""
    return True


#: Seen on 11.25 and 13.38; by the source, 13 has it.
ONE_LOGIN_OF_A_USER = Change("allowmultiplelogin for a single user", ((13,),))

#: Seen on 13.38 and 16.28; 14 has it by its source.
OUTPUT_HEADERS = Change("Output headers in the response to Command", ((14,),))

#: Seen on 16.28 and 22.10.
NO_CONTACT = Change("MESSAGE without Contact", ((22,),))

#: By the change log; seen on 16.28, 18.26.4, 20.20.1, 22.0.0 and 22.10.1.
SEMICOLON_IN_FROM = Change(
    "semicolons in the From of pjsip", ((18, 26, 2), (20, 14, 1), (21, 9, 1), (22, 4, 1))
)

#: A name or brackets in To beside Destination: the same versions. Before, the part up to the name
#: in a To that is equal to Destination is taken for a part of the name.
TO_WITHOUT_NAME = Change("no name in the To of pjsip", ((20, 20, 0), (22, 10, 0)))
