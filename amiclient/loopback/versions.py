"""The differences between the Asterisk versions that the server imitates.

The behaviour that all versions share is in :mod:`.server`. How a version truncates lines that are
too long is in :class:`amiproto.Connection`, which knows the version by its banner.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict

from amiproto import Event

_SYSTEM = ("Privilege", "system,all")
_BOOTED = ("Status", "Fully Booted")


@dataclass(frozen=True)
class Version:
    """The behaviour of one Asterisk version. The defaults are those of 16.28 and 22.10.

    :ivar str ami: the version of AMI in the banner: 1.3 on 11.25, 5.0.4 on 16.28, 11.0.0 on 22.10.
    :ivar bool has_raw_output: the response to a Command, even to an invalid one, is
        ``Response: Follows`` and raw text (11.25). Later versions respond with ``Output`` headers,
        and with ``Error`` to an invalid command (16.28, 22.10).
    :ivar bool has_event_lists: lists start and end with an ``EventList`` header (16.28, 22.10).
        Some lists of 11.25 start with a message that ends in ``will follow``, and end with an
        event whose name ends in ``Complete``.
    :ivar bool has_destination: ``Destination`` routes a MessageSend (since 16.22, 18.8 and 19.0).
        Older versions ignore it.
    :ivar bool ignores_technology_case: MessageSend accepts ``SIP:`` for ``sip:`` (11, by its
        source). 16.28 and 22.10 do not.
    :ivar bool first_variable_wins: of several values of one variable the first counts (11.25),
        not the last (16.28, 22.10).
    :ivar bool reads_across_records: one read over TLS continues in the next record, and the server
        closes the connection if it responds before it has read everything (11.25). Later versions
        read from one record at a time (16.28, 22.10).
    :ivar fully_booted: the event after a login whose event mask has the class ``system``, if the
        server has started (:class:`amiproto.Event`). 11.25 sends neither Uptime nor LastReload.
    """

    ami: str
    has_raw_output: bool = False
    has_event_lists: bool = True
    has_destination: bool = True
    ignores_technology_case: bool = False
    first_variable_wins: bool = False
    reads_across_records: bool = False
    fully_booted: Event = Event(
        "FullyBooted", [_SYSTEM, ("Uptime", "0"), ("LastReload", "0"), _BOOTED]
    )


#: The known versions, by the major version of Asterisk.
VERSIONS: Dict[int, Version] = {
    11: Version(
        "1.3",
        has_raw_output=True,
        has_event_lists=False,
        has_destination=False,
        ignores_technology_case=True,
        first_variable_wins=True,
        reads_across_records=True,
        fully_booted=Event("FullyBooted", [_SYSTEM, _BOOTED]),
    ),
    16: Version("5.0.4"),
    22: Version("11.0.0"),
}

#: The version of a server if none is given. It stays the same when versions are added, because
#: tests of users depend on it.
DEFAULT_VERSION = 22
