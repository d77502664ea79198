"""Every number of the protocol, once, with the reason for it."""

from __future__ import annotations

#: Most bytes of one line of an action, before its CR LF. The server (Asterisk 11.25, 16.28 and
#: 22.10 alike) reads into a buffer of 1024 bytes that must hold the line end too. A longer line is
#: dropped, and at some lengths what follows it is carried out as an action of its own.
MAX_ACTION_LINE = 1022

#: Bytes of the server's input buffer: with no LF among so many, it drops all but the last (16.28,
#: 22.10), or all of them (11).
SERVER_INPUT_BUFFER = 1024

#: Most lines of one action. The server (11.25, 16.28, 22.10) keeps an array of 128 and answers
#: the 129th with "Too many lines in message or allocation failure".
MAX_ACTION_LINES = 128

#: Most bytes of an action that wait for its end in the server's role: all its lines, and the start
#: of one more. What is over the limits is not kept.
MAX_PARTIAL_ACTION = (MAX_ACTION_LINES + 1) * SERVER_INPUT_BUFFER

#: Longest ActionID in bytes. It is echoed byte for byte up to here; over 67 bytes some actions
#: (seen on 16.28 and 22.10) glue it to their next header.
MAX_ACTION_ID = 67

#: Most bytes of a message's text in ``Body``: MAX_ACTION_LINE less ``Body: ``.
MAX_BODY = MAX_ACTION_LINE - len("Body: ")

#: Most bytes of a message's text in ``Base64Body``, counted before encoding: the line has room for
#: 1010 characters of base64, of six bits each; the last group needs no padding.
MAX_BASE64_BODY = (MAX_ACTION_LINE - len("Base64Body: ")) * 6 // 8

#: Most items in one ``Variable`` header: the server's array has 64 places and the last of them
#: takes the rest of the line unparsed (Asterisk source; seen on 11.25, 16.28, 22.10).
MAX_VARIABLES_IN_HEADER = 63

#: Most variables of a ``sip:`` message. chan_sip (16.28) keeps 64 header lines a request; the
#: 54th variable costs Content-Length, the 55th Content-Type, the rest vanish, and it says Success.
MAX_SIP_VARIABLES = 53

#: Most bytes of a name in From, and of a user in From or To, as chan_sip (16.28) writes them: with
#: backslashes, with escapes. Its buffers have 256, and it cuts without a word.
MAX_SIP_NAME = 255

#: Most bytes of a SIP message: a datagram of UDP over IPv4 holds no more. Of a larger one pjsip
#: (16.28, 22.10) says Success, and sends nothing.
MAX_DATAGRAM = 65507

#: Most bytes of a banner line. Real ones have under 40 (``Asterisk Call Manager/11.0.0``).
MAX_BANNER = 256

#: Most bytes between two line ends of a stanza from the server. Asterisk's own values end at some
#: kilobytes (4096 for a variable in most paths), so this is ample, and still bounds a peer.
MAX_LINE = 64 * 1024

#: Most bytes of one stanza from the server, its blank line included. A command's whole output is
#: one stanza: ten thousand peers are about a megabyte.
MAX_STANZA = 4 * 1024 * 1024

#: Most bytes received and not yet asked for with ``next_event``. A program that reads every event
#: before it receives more never meets it, however the stream is cut.
MAX_BACKLOG = 16 * 1024 * 1024

#: Most actions waiting for an answer in one session, abandoned ones included. A session needs no
#: more than its window; without a bound, a server that never answers would fill the memory.
MAX_OUTSTANDING = 4096

#: Bytes of memory that a message costs beyond those it has on the wire, while it is kept and
#: nobody has asked for its headers: its two objects and a place in a list (90 on CPython 3.11, by
#: tracemalloc). What is kept is counted with it, as a peer that sends many small messages could
#: fill several times the memory that a limit names otherwise.
MESSAGE_OVERHEAD = 128

#: Most bytes of memory that the events take which are collected for the lists of one session that
#: are not complete yet: their bytes on the wire and MESSAGE_OVERHEAD for each.
MAX_LIST_BYTES = 64 * 1024 * 1024

#: Fewest bytes of randomness that a session takes for its ActionIDs. Values on the wire can hold
#: whole forged stanzas, so who writes them must not be able to guess an ActionID.
MIN_ENTROPY = 16

#: First numbers of the versions of AMI (Asterisk 11 to 15, and 17) that ignore MessageSend's
#: Destination: it came with Asterisk 16.22.0 (AMI 5), 18.8.0 (AMI 7) and 19.0.0 (AMI 8). AMI 5
#: and 7 before those do not tell themselves from later ones.
AMI_WITHOUT_DESTINATION = frozenset((1, 2, 3, 4, 6))
