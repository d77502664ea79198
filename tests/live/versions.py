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


#: Seen on 13.38. On 11.25 the setting is that of all users.
ONE_LOGIN_OF_A_USER = Change("allowmultiplelogin for a single user", ((13,),))

#: Seen on 16.28; 13.38 writes raw text. By the source, 14 is the first.
OUTPUT_HEADERS = Change("Output headers in the response to Command", ((14,),))

#: Seen on 22.10. 16.28 writes a Contact; those between were not tried.
NO_CONTACT = Change("MESSAGE without Contact", ((22,),))

#: Seen on 18.26.4, 20.20.1 and 22.10; not on 16.28 and 22.0.0. The releases are from the source.
SEMICOLON_IN_FROM = Change("semicolons in From", ((18, 26, 2), (20, 14, 1), (21, 9, 1), (22, 4, 1)))

#: A To with a name or brackets beside Destination is ignored, and the endpoint in a To that equals
#: Destination is no part of a name. Seen on 22.10; not on 16.28 and 22.0.0. The releases are from
#: the source.
TO_WITHOUT_NAME = Change("To without a name", ((20, 20, 0), (22, 10, 0)))
