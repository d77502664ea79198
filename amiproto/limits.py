"""The protocol's limits, and the reason for each."""

from __future__ import annotations

#: Longest line of an action in bytes, without its CR LF. The server's input buffer has 1024 bytes,
#: and must hold the line end too. It drops a longer line, and at some lengths carries out the bytes
#: after it as another action (11.25, 16.28, 22.10).
MAX_ACTION_LINE = 1022

#: Size of the server's input buffer in bytes. If the buffer is full and has no LF, the server drops
#: all but the last byte (16.28, 22.10), or all of them (11).
SERVER_INPUT_BUFFER = 1024

#: Most lines of an action. The server keeps 128, and responds to the 129th with the error "Too many
#: lines in message or allocation failure" (11.25, 16.28, 22.10).
MAX_ACTION_LINES = 128

#: Most bytes of an incomplete action that a connection in the server's role buffers: all lines, and
#: the start of one more. Anything over the limits above is dropped at once.
MAX_PARTIAL_ACTION = (MAX_ACTION_LINES + 1) * SERVER_INPUT_BUFFER

#: Longest ActionID in bytes. The server echoes it unchanged up to this size. Responses to some
#: actions run a longer one into the next header (16.28, 22.10).
MAX_ACTION_ID = 67

#: Most bytes of a message body in ``Body``.
MAX_BODY = MAX_ACTION_LINE - len("Body: ")

#: Most bytes of a message body in ``Base64Body``, before encoding. The line has room for 1010
#: characters of base64, of six bits each. The server does not need the padding.
MAX_BASE64_BODY = (MAX_ACTION_LINE - len("Base64Body: ")) * 6 // 8

#: Most variables in one ``Variable`` header. The server's array has 64 entries, and the last one
#: takes the rest of the line unparsed (Asterisk source; seen on 11.25, 16.28, 22.10).
MAX_VARIABLES_IN_HEADER = 63

#: Most variables of a ``sip:`` message. chan_sip (16.28) has room for 64 header lines. The 54th
#: variable replaces Content-Length, the 55th Content-Type, and further ones are dropped, all with a
#: Success response.
MAX_SIP_VARIABLES = 53

#: Most bytes of a display name in From, and of a user in From or To, after the escaping that
#: chan_sip (16.28) does. Its buffers have 256 bytes, and it truncates silently.
MAX_SIP_NAME = 255

#: Largest SIP message in bytes: the limit of a UDP datagram over IPv4. pjsip (16.28, 22.10) drops a
#: larger one, with a Success response.
MAX_DATAGRAM = 65507

#: Longest banner line in bytes. Real ones have fewer than 40 (``Asterisk Call Manager/11.0.0``).
MAX_BANNER = 256

#: Longest line from the server in bytes, without its LF. Asterisk limits its own values to a few
#: kilobytes (4096 bytes for a variable on most paths).
MAX_LINE = 64 * 1024

#: Largest stanza from the server in bytes, with its blank line. The output of a command is one
#: stanza: a list of ten thousand peers takes about a megabyte.
MAX_STANZA = 4 * 1024 * 1024

#: Most bytes received but not yet parsed by ``next_event``. A caller that reads all events before
#: it feeds more data never reaches this limit.
MAX_BACKLOG = 16 * 1024 * 1024

#: Most pending actions of a session, with abandoned ones. This bounds the memory if a server never
#: responds.
MAX_OUTSTANDING = 4096

#: Memory in bytes that a message in a list takes besides its bytes on the wire: two objects and a
#: list entry (about 90 on CPython 3.11, by tracemalloc). MAX_LIST_BYTES counts it, because many
#: small messages would otherwise take several times the limit.
MESSAGE_OVERHEAD = 128

#: Most bytes of memory for the events of a session's incomplete lists, with MESSAGE_OVERHEAD each.
MAX_LIST_BYTES = 64 * 1024 * 1024

#: Fewest random bytes that a session needs for its ActionIDs. Header values can contain a whole
#: forged stanza, so the author of a value must not be able to guess an ActionID.
MIN_ENTROPY = 16

#: Major AMI versions (Asterisk 11 to 15, and 17) that ignore the Destination of MessageSend. It was
#: added in Asterisk 16.22.0 (AMI 5), 18.8.0 (AMI 7) and 19.0.0 (AMI 8). The banners of AMI 5 and 7
#: do not show whether the server is older than that.
AMI_WITHOUT_DESTINATION = frozenset((1, 2, 3, 4, 6))
