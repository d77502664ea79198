"""The differences between the Asterisk versions that the server imitates.

The behaviour that all versions share is in :mod:`.server`. How a version truncates lines that are
too long is in :class:`amiproto.Connection`, which knows the version by its banner.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, FrozenSet, Tuple

from amiproto import Event

_SYSTEM = ("Privilege", "system,all")
_BOOTED = ("Status", "Fully Booted")


@dataclass(frozen=True)
class Version:
    """The behaviour of one Asterisk version. The defaults are those of 16.28 and 22.10.

    :ivar str ami: the version of AMI in the banner: 1.3 on 11.25, 5.0.4 on 16.28, 11.0.0 on 22.10.
    :ivar str asterisk: the version of Asterisk.
    :ivar missing_technologies: the technologies (frozenset of str) that it does not have: 11 has no
        pjsip, and chan_sip was removed in 21.
    :ivar bool has_raw_output: the response to a Command, even to an invalid one, is
        ``Response: Follows`` and raw text (11.25). Later versions respond with ``Output`` headers,
        and with ``Error`` to an invalid command (16.28, 22.10).
    :ivar lists_by_words: the actions (frozenset of str, in lower case) whose lists have no
        ``EventList`` header. They start with a message that ends in ``will follow``, and end with
        an event whose name ends in ``Complete`` (some actions of 11.25).
    :ivar bool writes_id_last: the ActionID is the last header of the event that ends a list
        (CoreShowChannels and others of 11.25). It is the first one on 16.28 and 22.10.
    :ivar bool has_destination: ``Destination`` routes a MessageSend (since 16.22, 18.8 and 19.0).
        Older versions ignore it.
    :ivar bool ignores_case: MessageSend accepts ``SIP:`` for ``sip:``, and Getvar finds ``x`` as
        ``X`` (11, by its source). 16.28 and 22.10 do not.
    :ivar bool first_variable_wins: of several values of one variable the first counts (11.25),
        not the last (16.28, 22.10).
    :ivar bool reads_across_records: one read over TLS continues in the next record, and the server
        closes the connection if it responds before it has read everything (11.25). Later versions
        read from one record at a time (16.28, 22.10).
    :ivar bool has_data_get: DataGet is known (11.25). Without data for the path its response is an
        error.
    :ivar unsent_in_user_events: starts of lines (tuple of bytes, in lower case) that the event of a
        UserEvent leaves out. 11 keeps the line of the action, by its source.
    :ivar str more_settings: the last lines of the response to CoreSettings (22.10).
    :ivar str more_status: the last lines of the response to CoreStatus (22.10).
    :ivar fully_booted: the event after a login whose event mask has the class ``system``, if the
        server has started (:class:`amiproto.Event`). 11.25 sends neither Uptime nor LastReload.
    """

    ami: str
    asterisk: str
    missing_technologies: FrozenSet[str] = frozenset()
    has_raw_output: bool = False
    lists_by_words: FrozenSet[str] = frozenset()
    writes_id_last: bool = False
    has_destination: bool = True
    ignores_case: bool = False
    first_variable_wins: bool = False
    reads_across_records: bool = False
    has_data_get: bool = False
    unsent_in_user_events: Tuple[bytes, ...] = (b"userevent:", b"action:")
    more_settings: str = ""
    more_status: str = ""
    fully_booted: Event = Event(
        "FullyBooted", [_SYSTEM, ("Uptime", "0"), ("LastReload", "0"), _BOOTED]
    )


#: The known versions, by the major version of Asterisk.
VERSIONS: Dict[int, Version] = {
    11: Version(
        "1.3",
        "11.25.3",
        missing_technologies=frozenset({"pjsip"}),
        has_raw_output=True,
        lists_by_words=frozenset(
            "agents dahdishowchannels dbget parkedcalls parkinglots queuestatus queuesummary "
            "sippeerstatus status voicemailuserslist".split()
        ),
        writes_id_last=True,
        has_destination=False,
        ignores_case=True,
        first_variable_wins=True,
        reads_across_records=True,
        has_data_get=True,
        unsent_in_user_events=(b"userevent:",),
        fully_booted=Event("FullyBooted", [_SYSTEM, _BOOTED]),
    ),
    16: Version("5.0.4", "16.28.0"),
    22: Version(
        "11.0.0",
        "22.10.1",
        missing_technologies=frozenset({"sip"}),
        more_settings="SoundsSearchCustomDir: No\r\n",
        more_status="CoreProcessedCalls: 0\r\n",
    ),
}

#: The version of a server if none is given. It stays the same when versions are added, because
#: tests of users depend on it.
DEFAULT_VERSION = 22
