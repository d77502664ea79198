"""The samples and tokens that inputs are made of."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Dict, List

from .loopbacks import LOGIN
from .reading import BANNERS
from .sessions import Caller

_CAPTURES = Path(__file__).resolve().parent.parent / "captures"

#: Output of servers.
FROM_SERVERS = [
    b"Event: Newexten\r\nPrivilege: dialplan,all\r\nChannel: Local/1@x-1;2\r\nAppData: a=b\r\n\r\n",
    b"Event: X\r\nEmpty: \r\nEmpty:\r\nno colon\r\nVariable(SIP/x:1-2): a=b\r\n\xff\xfe\r\n\r\n",
    b"Response: Success\r\nVariable: X\r\nValue: a\r\n\r\nResponse: Error\r\nMessage: x\r\n\r\n",
    b"Response: Follows\r\nPrivilege: Command\r\nActionID: 1\r\n"
    b"a\n\n\r\n\r\nb\n--END COMMAND--\r\n\r\n",
    b"Response: Follows\r\nPrivilege: Command\r\n--END COMMAND--\r\n\r\n",
    b"Response: Success\r\nOutput: a\r\nOutput: \r\nOutput: b\r\r\n\r\n",
    b"Asterisk Call Manager/9.0.0\r\n",
    b"Event: CoreShowChannelMap\r\nActionID: 1\r\nConnectedChannel: Local/1@x-1;2\r\n\n",
    b"Event: X\nA: b\n\n",
    b"Event: X\nA: b\r\n\r\n",
    b"default has 0 calls (max unlimited)\r\n   No Members\r\n\r\n",
    b"\r\n\r\n\n",
]  # fmt: skip
#: Output of clients.
FROM_CLIENTS = [
    b"Action: Ping\r\nActionID: 1\r\n\r\n",
    b"Action: Ping\n\n",
    b"Action: Challenge\r\nAuthType: MD5\r\n\r\n",
    b"Action: Logoff\r\n\r\n",
    b"action:Originate\r\nActionID:\r\nVariable: a=b\r\nACTIONID: 2\r\n\r\n",
    b"Action: \r\nAction: Setvar\0\r\nActionID: 3\0 4\r\nno colon\r\n\r\n",
    b"Action: Login\r\nUsername: joe\r\nSecret: geheim\r\nEvents: off\r\n\r\n",
    b"Action: MessageSend\r\nTo: p:a\r\nVariable: (b,\"c\\\"),d=e\r\nBase64Body: Y\r\n\r\n",
    b"Action: MessageSend\r\nTo: sip:a\r\nFrom: b\r\nDestination: pjsip:c\r\nBody: d\r\n\r\n",
    b"Action: MessageSend\r\nTo: SIP:a\r\nVariable: X=1,x=2\r\nVariable: X=\r\n\r\n",
    b"Action: X\r\nLong: " + b"x" * 1017 + b"\r\nY: z\r\n\r\n",
    b"Action: X\r\n" + b"A: b\r\n" * 127 + b"\r\n",
    b"ActionID: 7\nAction: Ping\n\n\0Action: Evil\r\n\r\n",
    LOGIN,
]  # fmt: skip
#: Messages, in the format of :func:`messages.message_send`.
MESSAGES = [
    b"pjsip:alice\x1f\x1f\x1f\x1fSomeone is at the door",
    b"pjsip:sip:bob@example.org:5060;transport=udp\x1fDoor <sip:door@example.org>\x1f\x1f1\x1fa\nb",
    b"sip:alice\x1f\"A, B\" <sip:a%20b@[::1]>\x1f\x1f\x1f h\xc3\xa9llo\nthere\x1fX-A\x1fa,(b)\"\\",
    b"sip:bob@host\x1fdoor\x1f\x1fa-1\x1fx\x1fSubject\x1fs\x1fContent-Type\x1ftext/plain;a=b",
    b"xmpp:alice@example.org/r\x1fxmpp:asterisk\x1fxmpp:alice@example.org/r\x1f\x1fx\x1f",
    b"sip:to@host\x1f\x1fpjsip:alice/sip:a@b;x=y\x1f\x1f\x1fMax-Forwards\x1f70\x1fTo\x1fx",
    b"\"n\" <sip:to@host;user=phone>\x1fx\x1fpjsip:PJSIP/1%2B2@alice\x1f\x1f\x1fX\x1f%41",
    b"pjsip:alice/\"n\" <sip:b:c@d;user=phone;transport=udp;ttl=1;maddr=e;lr;x=y>\x1fsip:a@b"
    b"\x1f\x1f\x1fx",
    b"pjsip:1+2@gateway@alice\x1fdoor@[::1]\x1f\x1f\x1f\x1fUser-Agent\x1fDoor/1"
    b"\x1fContent-Type\x1fa/b",
    b"sip:bob@[fe80::1%25]:5060\x1fsip:d@e\x1f\x1f\x1f\x1fi\x1f1\x1fRoute\x1f<sip:x>\x1fX=\x1f1",
    b"other:alice\x1fanybody\x1fOther:x\x1fid\x1f\xff\x00\x1fa b\x1f\xed\xa0\x80",
]  # fmt: skip

#: Tokens of a stream, to insert anywhere in an input.
TOKENS = [
    b"\r\n", b"\n", b"\r", b"\r\n\r\n", b"\r\n\n", b"\n\n", b"\n\r\n", b"\0", b":", b"(", b"):",
    b"\xff",
    b"Event: ", b"Response: ", b"Action: ", b"ActionID: ", b"EventList: Complete\r\n",
    b"EventList: start\r\n", b"--END COMMAND--\r\n\r\n", b"Base64Body: ", b"Variable: ",
    b"Response: Follows\r\nPrivilege: Command\r\n", b"x" * 60, b"x" * 1022, b"A\r\n" * 40,
]  # fmt: skip
#: Tokens of the fields of a message.
WORDS = [
    b"\x1f", b"sip:", b"pjsip:", b"xmpp:", b"@", b";", b"=", b"%", b"%25", b"<", b">", b'"', b"\\",
    b"[::1]", b"/", b"?", b"PJSIP/", b";transport=udp", b";user=phone", b";lr", b":5060", b", ",
    b"Content-Type", b"Max-Forwards", b"text/plain", b" ", b"\n", b"\0", b"\x7f", b"\xc3\xa9",
    b"\xed\xa0\x80", b"\xff",
]  # fmt: skip


def responses() -> List[bytes]:
    """Return possible responses to the actions of :class:`sessions.Caller`."""
    caller = Caller({})
    caller.log_in(BANNERS[1])
    made = [b"Response: Error\r\nMessage: no\r\n\r\n", b"Response: Goodbye\r\n\r\n"]
    for action_id in caller.session.outstanding:
        line = f"ActionID: {action_id}\r\n".encode()
        start = b"Response: Success\r\n" + line + b"EventList: start\r\n\r\n"
        old_start = b"Response: Success\r\n" + line + b"Message: Peers will follow\r\n\r\n"
        item = b"Event: Item\r\n" + line + b"A: b\r\n\r\n"
        end = b"Event: ListComplete\r\n" + line + b"EventList: Complete\r\n\r\n"
        made += [b"Response: Success\r\n" + line + b"\r\n", start, old_start, item, end]
        made += [start + item + end, old_start + item + end, start + item * 8]
    return made


def login_responses() -> List[bytes]:
    """Return possible responses to a login, with and without a banner."""
    made = [
        b"Response: Success\r\nChallenge: 1\r\n\r\n"
        b"Response: Success\r\nMessage: Authentication accepted\r\n\r\n",
        b"Response: Error\r\nMessage: Authentication failed\r\n\r\n",
        b"Event: X\r\n\r\nResponse: Success\r\n\r\n",
    ]
    return [BANNERS[1] + data for data in made] + made[::-1]


def recorded() -> List[bytes]:
    """Return one stanza of each kind from the recorded streams."""
    kinds: Dict[bytes, bytes] = {}
    for path in sorted(_CAPTURES.glob("*.bin")):
        # With an ActionID that is outstanding in the tests.
        data = re.sub(rb"(?<=ActionID: )capture-[0-9]+", b"1", path.read_bytes())
        for stanza in data.split(b"\r\n\r\n"):
            if len(stanza) < 900:
                names = b"".join(line.partition(b":")[0] for line in stanza.split(b"\r\n")[1:])
                kinds.setdefault(stanza.partition(b"\r\n")[0] + names, stanza + b"\r\n\r\n")
    return list(kinds.values())
