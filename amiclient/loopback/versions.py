"""What differs between the versions of Asterisk that the server can behave as, each fact once.

Apart from the server, which asks here and knows no version itself. What the Asterisks have in
common is in the server, and how they cut what a client sends in :class:`amiproto.Connection`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict


@dataclass(frozen=True)
class Version:
    """How one Asterisk behaves.

    :ivar str ami: the version of AMI in the banner: 1.3 on 11.25, 5.0.4 on 16.28, 11.0.0 on 22.10.
        By it a :class:`amiproto.Connection` knows how lines over the server's buffer are cut.
    :ivar bool has_raw_output: whether a Command is answered by ``Response: Follows`` and raw text,
        a refused one, too (11.25); later by a stanza with ``Output`` headers, which says ``Error``
        where the command is refused (16.28, 22.10).
    :ivar bool has_event_lists: whether lists start and end with an ``EventList`` header (16.28,
        22.10). Some of 11.25 start with words alone, ``... will follow``, and end with an event
        whose name ends in ``Complete``.
    :ivar bool has_destination: whether MessageSend's ``Destination`` routes the message (since
        16.22, 18.8 and 19.0); before, it is a header like any unknown one.
    :ivar bool technology_in_any_case: whether ``SIP:`` is ``sip:`` to MessageSend (11, by its
        source); 16.28 and 22.10 want the technology's own spelling.
    :ivar bool first_variable_counts: which of several values of one variable counts: the first
        (11.25) or the last (16.28, 22.10).
    :ivar int tls_read: most bytes that are read at once over TLS. Then the server polls the socket,
        and not the TLS layer: what is left of a record waits there until more comes (all).
    :ivar bool reads_across_records: whether one read over TLS goes on from record to record, and
        whether the server closes where it has not read all that was sent when it answers (11.25);
        the others read of one record (16.28, 22.10).
    """

    ami: str
    has_raw_output: bool = False
    has_event_lists: bool = True
    has_destination: bool = True
    technology_in_any_case: bool = False
    first_variable_counts: bool = False
    tls_read: int = 1024
    reads_across_records: bool = False


#: By the first number of Asterisk's own version: those that were looked at.
VERSIONS: Dict[int, Version] = {
    11: Version(
        "1.3",
        has_raw_output=True,
        has_event_lists=False,
        has_destination=False,
        technology_in_any_case=True,
        first_variable_counts=True,
        tls_read=1023,
        reads_across_records=True,
    ),
    16: Version("5.0.4"),
    22: Version("11.0.0"),
}

#: The newest of them.
NEWEST = max(VERSIONS)
