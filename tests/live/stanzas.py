"""Raw stanzas, most of them odd, that real servers and the loopback server must handle alike."""

from __future__ import annotations

from base64 import b64encode
from typing import Dict, List, NamedTuple

from tests.live.configuration import USERS

#: Values of an event mask: words, classes, names in front of a comma, and numbers.
EVENT_MASKS = [
    b"", b"on", b"YES", b"T", b"off", b"False", b"n", b"all", b"all,call", b"none", b"none,user",
    b"call", b"call,user", b"user,", b"user ,cdr", b"call, user", b"usr", b"USER", b"on ", b" on",
    b"user\0,call", b"sys,cdr", b"u,call", b"a,cdr", b",", b",call", b"systems,cdr", b"n,call",
    b"system,security", b"hookresponse", b"message", b"0", b"1", b"000", b"0064", b"64", b"66",
    b"%d" % 2**30, b"%d" % (2**31 - 1), b"%d" % 2**31, b"%d" % (2**32 - 1), b"%d" % 2**32,
    b"%d" % (2**32 + 65), b"%d" % (2**63 - 1), b"%d" % 2**63, b"9" * 900, b"-1", b"+1", b"\xb2",
]  # fmt: skip


class Stanza(NamedTuple):
    """Bytes to send over one connection."""

    name: str
    #: ``{phone}`` is replaced with the port of the phone.
    raw: bytes
    #: Log in first.
    logged_in: bool = True
    #: The server closes the connection.
    closes: bool = False


#: A valid action to append: its response shows that the server has not lost track.
PING = b"Action: Ping\r\nActionID: behind\r\n\r\n"
TO = b"To: pjsip:alice"


def action(*lines: bytes, end: bytes = b"\r\n") -> bytes:
    """Return a stanza of these lines."""
    return b"".join(line + end for line in (*lines, b""))


def send(*lines: bytes, to: bytes = TO, end: bytes = b"\r\n") -> bytes:
    """Return a MessageSend with additional lines."""
    return action(b"Action: MessageSend", b"ActionID: a-1", to, *lines, end=end)


def login(user: str, *lines: bytes) -> bytes:
    """Return a Login with a plain secret and no events."""
    secret = USERS[user].encode()
    return action(
        b"Action: Login", b"Username: " + user.encode(), b"Secret: " + secret, b"Events: off",
        *lines,
    )  # fmt: skip


def _named(raw: Dict[str, bytes]) -> List[Stanza]:
    return [Stanza(name, data) for name, data in raw.items()]


def _variables(text: bytes) -> bytes:
    return send(b"Variable: " + text, b"Body: x")


def _lines(count: int, *more: bytes) -> bytes:
    """Return a MessageSend of ``count`` lines, with a Variable in the last one."""
    own = (b"Action: MessageSend", b"ActionID: a-1", TO, b"Body: many", *more)
    padding = [b"N%d: x" % number for number in range(count - len(own) - 1)]
    return action(*own, *padding, b"Variable: X-Last=last")


def _overlong() -> List[Stanza]:
    stanzas = []
    for size in (
        *range(1020, 1030), *range(2044, 2053), *range(3067, 3075), 4092, 4093, 4094, 9000
    ):  # fmt: skip
        for name, start in (("unknown", b"Long: "), ("body", b"Body: "), ("id", b"ActionID: ")):
            if name == "unknown" or size in (1022, 1023, 1024, 1025, 2047, 2048, 2049):
                line = start.ljust(size, b"x")
                first = (b"Action: MessageSend", TO)
                # The headers after the long line form an action themselves.
                raw = action(*first, b"ActionID: a-1", line, *first, b"Body: behind")
                stanzas.append(Stanza(f"line of {size} bytes, {name}", raw + PING))
                raw = action(*first, line, b"ActionID: a-2", b"Body: behind", end=b"\n")
                stanzas.append(Stanza(f"line of {size} bytes with LF, {name}", raw + PING))
    for size in (1022, 1023, 1024, 2046):
        pad = b"Long: ".ljust(size, b"x")
        for name, tail in (
            ("Action", b"Action: Ping"), ("ActionID", b"ActionID: tail"), ("NUL", b"\0tail"),
            ("CR", b"\r"), ("CR NUL", b"\r\0"), ("two CR", b"\r\r"), ("space", b" "),
        ):  # fmt: skip
            name = f"after {size} bytes without a line end: {name}"
            stanzas.append(Stanza(name, send(pad + tail) + PING))
    long = b"Long: ".ljust(1500, b"x")
    stanzas += _named({
        "two long lines": send(long, b"Body: x", long) + PING,
        "a long line and nothing else": long + b"\r\n\r\n" + PING,
        "long line first, Action after it": action(long, b"Action: Ping") + PING,
        "a long line without an end": b"Long: ".ljust(5000, b"x"),
        "Body of the maximum size": send(b"Body: ".ljust(1022, b"b")),
        "Base64Body of the maximum size": send(b"Base64Body: " + b64encode(b"b" * 756)),
        "Variable of the maximum size": _variables(b"X-Long=".ljust(1012, b"v")),
        "NULs longer than the buffer": send(b"\0" * 1500, b"Body: x") + PING,
        "CRs longer than the buffer": send(b"\r" * 1500, b"Body: x") + PING,
    })  # fmt: skip
    return stanzas


def _many_lines() -> List[Stanza]:
    long = b"Long: ".ljust(1500, b"x")
    return _named({
        **{f"{count} lines": _lines(count) + PING
           for count in (126, 127, 128, 129, 130, 131, 256, 257, 300)},
        # The server still remembers the long line after its response to the many lines.
        "129 lines, one of them long": _lines(129, long) + PING + PING,
        "129 lines and a long one after": _lines(129)[:-2] + long + b"\r\n\r\n" + PING * 2,
        "128 lines, a long one within": _lines(128, long) + PING,
        "129 lines twice": _lines(129) * 2 + PING,
        "129 lines without an Action": b"X: y\r\n" * 129 + b"\r\n" + PING,
        "Action and ActionID in the 129th line and after": action(
            *[b"X: y"] * 128, b"Action: Ping", b"ActionID: late") + PING,
        "Action in the 128th line": action(*[b"X: y"] * 127, b"Action: Ping") + PING,
    })  # fmt: skip


def _bodies() -> List[Stanza]:
    encoded = {
        "good": b64encode("caf\u00e9\r\n  \U0001f600".encode()), "no padding": b"YQ",
        "one digit": b"Y", "two digits of padding too many": b"YQ====",
        "text after the padding": b"YQ==Yg==", "padding first": b"=YWJj", "only padding": b"====",
        "an equals sign inside": b"YWJj=ZGVm", "a NUL encoded": b64encode(b"before\0after"),
        "a NUL encoded first": b64encode(b"\0after"), "a raw NUL": b"YWJj\0ZGVm",
        "a raw NUL first": b"\0YWJj", "spaces inside": b"YW Jj ZG Vm", "tabs inside": b"YW\tJj",
        "trailing space": b"YWJj ", "leading spaces": b"  \t YWJj", "bare CR inside": b"YW\rJj",
        "no alphabet of base64": b"!\"#$%&'()*,-.:;<>?@[\\]^_`{|}~", "URL-safe digits": b"-_-_",
        "bytes over 127": b"YW\xff\x80\xc3\xa9Jj", "control bytes": b"YW\x01\x1f\x7fJj",
        "every digit": b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
        "a percent sign": b64encode(b"100 %s %n %d"),
        "every byte": b64encode(bytes(range(1, 256))),
    }  # fmt: skip
    return _named({
        **{f"base64: {name}": send(b"Base64Body: " + text, b"Body: the other")
           for name, text in encoded.items()},
        "base64: decodes to nothing, no Body": send(b"Base64Body: ="),
        "base64: empty falls back to Body": send(b"Base64Body: ", b"Body: fallen back"),
        "base64: only spaces": send(b"Base64Body: \t ", b"Body: fallen back"),
        "base64: empty, no Body": send(b"Base64Body:"),
        "base64: beats Body in front of it": send(b"Body: loses", b"Base64Body: d2lucw=="),
        "base64: twice": send(b"Base64Body: Zmlyc3Q=", b"Base64Body: c2Vjb25k"),
        "base64: empty, then full": send(b"Base64Body:", b"Base64Body: YQ==", b"Body: b"),
        "base64: in another case": send(b"BASE64bODY: YQ=="), "body: none": send(),
        "body: empty": send(b"Body: "), "body: empty, then full": send(b"Body:", b"Body: second"),
        "body: twice": send(b"Body: first", b"Body: second"),
        "body: leading spaces": send(b"Body: \t \x01\x1f\x0b  text"),
        "body: trailing spaces": send(b"Body: text \t "),
        "body: no space after the colon": send(b"Body:text"),
        "body: a colon first": send(b"Body::text"), "body: only spaces": send(b"Body:   "),
        "body: percent signs": send(b"Body: %s %n %d %% 100%"),
        "body: dollar signs": send(b"Body: ${CHANNEL} $[1+1] ${EXTEN}"),
        "body: bare CR": send(b"Body: a\rb\r"), "body: two CR in front of LF": send(b"Body: a\r"),
        "body: NUL": send(b"Body: before\0after"), "body: NUL first": send(b"Body: \0after"),
        "body: every byte": send(b"Body: a" + _every_byte() + b"z"),
        "body: escapes": send(b"Body: \\n \\r \\0 \\\\ &amp; %20"),
    })  # fmt: skip


def _every_byte() -> bytes:
    return bytes(byte for byte in range(1, 256) if byte not in b"\r\n")


def _line_ends() -> List[Stanza]:
    ends = b"Action: MessageSend\n" + TO + b"\r\nActionID: mixed\nBody: mixed\r\n\n"
    return _named({
        "one stray blank line": b"\r\n" + PING, "three stray blank lines": b"\r\n\r\n\r\n" + PING,
        "stray LFs": b"\n\n" + PING, "stray blank lines after": PING + b"\r\n\n\r\n" + PING,
        "a line of one CR": b"\r\r\n" + PING, "a line of one space": b" \r\n" + PING,
        "LF ends": send(b"Body: x", end=b"\n") + PING, "mixed ends": ends + PING,
        "CR LF with CR in front": send(b"Body: x", end=b"\r\r\n") + b"\r\n" + PING,
        "CR ends, which are none": send(b"Body: x", end=b"\r") + b"\r\n\r\n" + PING,
        "LF CR ends": send(b"Body: x", end=b"\n\r") + b"\n" + PING,
        "bare CR inside a name": send(b"Bo\rdy: x"),
        "bare CR in front of a name": send(b"\rBody: x"),
        "no blank line at the end": send(b"Body: x")[:-2],
        "cut off within a line": send(b"Body: x")[:-5],
        "cut off within CR LF": send(b"Body: x")[:-1],
        "NUL in a line": send(b"X: a\0b", b"Body: x"), "NUL in a name": send(b"Bo\0dy: x"),
        "NUL in front of the colon": send(b"Body\0: x"),
        "NUL in To": send(b"Body: x", to=TO + b"\0/odd"),
        "NUL in Action": action(b"Action: Ping\0Pong", b"ActionID: a\0b"),
        "NUL starts a line": send(b"\0Body: x", b"Body: y") + PING,
        "a line of one NUL": send(b"\0", b"Body: y") + PING,
        "a line of one NUL, with LF": b"Action: Ping\n\0\nActionID: x\n\n" + PING,
        "CR and NUL": b"Action: Ping\r\n\r\0\r\nActionID: x\r\n\r\n" + PING,
        "NUL first of all": b"\0" + PING,
    })  # fmt: skip


def _names() -> List[Stanza]:
    ping = b"Action: Ping"
    ids = {
        "odd bytes": b"\xff\xfe\x01\x7f \xc3\xa9 :=,;\"'\\%s%n", "bare CR": b"a\rb",
        "CR last": b"a\r", "looks like a header": b"Response: Error", "empty": b"",
        "only spaces": b" \t ", "leading spaces and control bytes": b" \t\x01\x1fa",
        "trailing spaces": b"a \t ", "67 bytes": b"i" * 67, "68 bytes": b"i" * 68,
        "200 bytes": b"i" * 200, "256 bytes": b"i" * 256, "1012 bytes": b"i" * 1012,
    }  # fmt: skip
    stanzas = []
    for name, value in ids.items():
        line = b"ActionID: " + value
        stanzas += [
            Stanza(f"ActionID: {name}", action(ping, line)),
            Stanza(f"ActionID: {name}, MessageSend", send(line, b"Body: x").replace(
                b"ActionID: a-1\r\n", b"")),
            Stanza(f"ActionID: {name}, no such action", action(b"Action: NoSuch", line)),
            Stanza(f"ActionID: {name}, no Action", action(line)),
            Stanza(f"ActionID: {name}, Challenge", action(
                b"Action: Challenge", b"AuthType: MD5", line)),
            Stanza(f"ActionID: {name}, line too long", action(ping, line, b"x" * 1500)),
            Stanza(f"ActionID: {name}, too many lines", action(ping, line, *[b"X: y"] * 200)),
        ]  # fmt: skip
    stanzas += _named({
        "ActionID: none": action(ping),
        "ActionID: twice": action(ping, b"ActionID: one", b"ActionID: two"),
        "ActionID: first empty": action(ping, b"ActionID:", b"ActionID: two"),
        "ActionID: odd case": action(ping, b"aCTIONid:x"),
        "ActionID: in front": action(b"ActionID: x", ping),
        "ActionID: space before the colon": action(ping, b"ActionID : x"),
        "ActionID: space before the name": action(ping, b" ActionID: x"),
        "ActionID: a longer name": action(ping, b"ActionIDs: x", b"XActionID: y"),
        "Action: none": action(b"ActionID: x", TO),
        "Action: empty": action(b"Action: ", b"ActionID: x"),
        "Action: twice": action(ping, b"Action: NoSuch"),
        "Action: empty first": action(b"Action:", b"Action: \t", ping, b"Action: NoSuch"),
        "Action: odd case": action(b"aCTION: pING"), "Action: no space": action(b"Action:Ping"),
        "Action: spaces and control bytes": action(b"Action:\t \x01\x02 Ping"),
        "Action: trailing space": action(b"Action: Ping "),
        "Action: CR after": action(b"Action: Ping\r"),
        "Action: space before the colon": action(b"Action : Ping"),
        "Action: tab before the colon": action(b"Action\t: Ping"),
        "Action: space before the name": action(b" Action: Ping"),
        "Action: a longer name": action(b"Actions: Ping"),
        "Action: no colon": action(b"Action Ping"),
        "Action: unknown": action(b"Action: NoSuch", b"ActionID: x"),
        "Action: unknown, odd bytes": action(b"Action: \xff\xc3\xa9%s%n\x7f\ra:b"),
        **{f"Action: unknown, {size} bytes": action(b"Action: ".ljust(8 + size, b"y"))
           for size in (411, 412, 413, 414, 415, 440, 482, 483, 484, 511, 512, 1014)},
        "Action: unknown, with To": action(b"Action: MessageSends", TO, b"Body: x"),
        "names of MessageSend in odd case": action(
            b"ACTION: messageSEND", b"actionid: x", b"tO: pjsip:alice", b"bODY: x",
            b"vARIABLE: X-Odd=case"),
        "names without a space": action(
            b"Action:MessageSend", b"To:pjsip:alice", b"Body:x", b"Variable:X-No=space"),
        "space before the colon of To": send(b"Body: x", to=b"To : pjsip:alice"),
        "space before the colon of Body": send(b"Body : x"),
        "space before the colon of Variable": send(b"Variable : X-A=a"),
        "lines without a colon": send(b"no colon", b"Body", b"Variable X-A=a", b"Body: x"),
        "From twice": send(b"From: <sip:one@x>", b"From: <sip:two@x>", b"Body: x"),
    })  # fmt: skip
    return stanzas


def _destinations() -> List[Stanza]:
    direct = b"pjsip:sip:bob@127.0.0.1:{phone}"
    targets = {
        "no To": b"X: y", "To empty": b"To: ", "To of spaces": b"To: \t\x01 ",
        "To twice": TO + b"\r\nTo: nosuch:alice", "To empty first": b"To:\r\n" + TO,
        "a URI": b"To: " + direct, "leading spaces": b"To: \t \x01pjsip:alice",
        "unknown technology": b"To: nosuch:alice",
        "technology in another case": b"To: PJSIP:alice",
        "technology in mixed case": b"To: Pjsip:alice", "no technology": b"To: alice",
        "empty technology": b"To: :alice", "space after the technology": b"To: pjsip :alice",
        "another known technology in another case": b"To: SIP:alice",
        "Destination and To": b"Destination: " + direct + b"\r\n" + TO,
        "Destination and another To": b"Destination: pjsip:alice\r\nTo: sip:other@example.org",
        "Destination, To empty": b"Destination: pjsip:alice\r\nTo: ",
        "Destination without To": b"Destination: " + direct,
        "Destination empty": b"Destination: \r\n" + TO,
        "Destination of an unknown technology": b"Destination: nosuch:alice\r\n" + TO,
        "Destination, To of an unknown technology": b"Destination: pjsip:alice\r\nTo: nosuch:bob",
        "Destination twice": b"Destination: pjsip:alice\r\nDestination: nosuch:alice\r\n" + TO,
        "Destination empty first": b"Destination:\r\nDestination: nosuch:alice\r\n" + TO,
        # Only a server that knows phones rejects these.
        "no address": b"To: pjsip:", "no colon": b"To: pjsip", "an invalid URI": b"To: pjsip:sip:",
    }  # fmt: skip
    return [Stanza(f"destination: {name}", send(b"Body: x", to=to)) for name, to in targets.items()]


def _grammar() -> List[Stanza]:
    def items(count: int) -> bytes:
        return b",".join(b"X-%d=%d" % (number, number) for number in range(count))

    texts = {
        "one": b"X-A=a", "two": b"X-A=a,X-B=b", "spaces around": b"  X-A = a , X-B=b ",
        "control bytes in front": b"\t\x01\x0bX-A=a", "quotes": b'X-A="a,b",X-B=b',
        "quotes inside": b'X-A=a"b,c"d,X-B=b', "quotes around all": b'"X-A=a,X-B=b"',
        "a quote that is not closed": b'X-A="a,X-B=b', "two quotes": b'X-A="",X-B=b',
        "an escaped quote": b'X-A=\\"a,X-B=b',
        "an escaped quote inside quotes": b'X-A="a\\",b",X-B=b',
        "round brackets": b"X-A=(a,b),X-B=b", "round brackets, nested": b"X-A=((a,b),c),X-B=b",
        "a round bracket that is not closed": b"X-A=(a,X-B=b",
        "a round bracket that is not opened": b"X-A=a),X-B=(b,c)",
        "an escaped round bracket": b"X-A=\\(a,X-B=b", "square brackets": b"X-A=[a,b],X-B=b",
        "a square bracket that is not closed": b"X-A=[a,X-B=b",
        "a square bracket that is not opened": b"X-A=a],X-B=[b,c]",
        "brackets that cross": b"X-A=([a)],b,X-B=b", "a bracket inside quotes": b'X-A="(",X-B=b',
        "a closing bracket inside quotes": b'X-A=("),",X-B=b',
        "braces, which are not special": b"X-A={a,X-B=b}",
        "other characters, which are not special": b"X-A=$a%b;c|d'e&f#g,X-B=b",
        "dollar expressions": b"X-A=${CHANNEL},X-B=$[1+1]",
        "backslashes": b"X-A=a\\\\b\\,c\\d,X-B=b", "a trailing backslash": b"X-A=a\\",
        "two trailing backslashes": b"X-A=a\\\\",
        "a trailing backslash after quotes": b'X-A="a"b"c"\\',
        "a trailing backslash after others": b"X-A=\\a\\b\\c\\",
        "a trailing backslash of the second": b"X-A=a,X-B=b\\", "only a backslash": b"\\",
        "only a quote": b'"', "an escaped equals sign": b"X-A\\=b=c",
        "a quoted equals sign": b'"X-A=b"=c', "two equals signs": b"X-A=b=c",
        "no equals sign": b"X-A,X-B=b", "an equals sign first": b"=a,X-B=b",
        "only an equals sign": b"=", "empty": b"", "commas": b",,X-A=a,,X-B=b,,",
        "only commas": b",,,", "a trailing comma": b"X-A=a,", "an empty value": b"X-A=",
        "an empty value removes an earlier one": b"X-A=a,X-A=,X-B=b",
        "an empty value in another case": b"X-A=a,x-a=",
        "an empty value, then another": b"X-A=a,X-A=,x-a=c",
        "an empty value by quotes": b'X-A=a,X-A=""', "a value of one space": b"X-A=a,X-A= ",
        "the same name": b"X-A=first,X-A=second",
        "the same name in another case": b"X-A=first,x-a=second,X-B=b",
        "three of one name": b"x-a=1,X-A=2,X-a=3",
        "every byte": b"X-A=a" + _every_byte().translate(None, b'\\",()[]') + b"z",
        "bytes over 127": b"X-A=\xff\x80\xc3\xa9", "bare CR": b"X-A=a\rb",
        "an underscore in front": b"_X-A=a,__X-B=b",
        "names pjsip keeps for itself": b"To=a,from=b,Via=c,Route=d,Content-Length=9,X-A=a",
        **{f"{count} items": items(count) for count in (1, 62, 63, 64, 65, 66, 80)},
        "63 items and a comma": items(63) + b",",
        "64 items, the last with marks": items(63) + b',X-Z="a,b"\\c(d',
        "62 items, one without a name": items(62) + b",=,X-Z=z,X-Y=y",
        "63 escaped items": items(63).replace(b"-", b"\\-") + b",X-\\Z=\\z",
    }  # fmt: skip
    several = {
        "several headers": (b"X-A=a", b"X-B=b", b"X-C=c"),
        "several headers, the same name": (b"X-A=first", b"x-A=second"),
        "several headers, an empty value": (b"X-A=first", b"X-A=", b"X-B=b"),
        "several headers, a quote that is not closed": (b'X-A="a', b'X-B=b"', b"X-C=c,X-D=d"),
        "several headers, the first empty": (b"", b"X-A=a"),
        "70 headers": tuple(b"X-%d=%d" % (number, number) for number in range(70)),
    }  # fmt: skip
    return _named({
        **{f"variables: {name}": _variables(text) for name, text in texts.items()},
        **{f"variables: {name}": send(*[b"Variable: " + text for text in headers], b"Body: x")
           for name, headers in several.items()},
        "variables: name in odd case, no space": send(b"vARIABLE:X-A=a", b"Body: x"),
        "variables: a longer name": send(b"Variables: X-A=a", b"Variable2: X-B=b"),
        "variables: NUL": send(b"Variable: X-A=a\0b,X-B=b", b"Body: x"),
        "variables: empty, no space": send(b"Variable:", b"Body: x"),
    })  # fmt: skip


def _failed_logins() -> List[Stanza]:
    admin = USERS["admin"].encode()
    start = (b"Action: Login", b"ActionID: w", b"Username: admin")
    md5 = (*start, b"AuthType: MD5")
    challenge = action(b"Action: Challenge", b"AuthType: MD5", b"ActionID: c")
    raw = {
        "wrong secret": action(*start, b"Secret: wrong"),
        "secret in another case": action(*start, b"Secret: " + admin.upper()),
        "trailing space": action(*start, b"Secret: " + admin + b" "),
        "wrong secret first": action(*start, b"Secret: wrong", b"Secret: " + admin),
        "no secret": action(*start),
        "unknown user": action(b"Action: Login", b"Username: nobody", b"Secret: " + admin),
        "no user": action(b"Action: Login", b"ActionID: w", b"Secret: " + admin),
        "empty user": action(b"Action: Login", b"Username:", b"Secret: " + admin),
        "MD5 without a challenge": action(*md5, b"Key: " + b"0" * 32),
        "MD5 without a Key": challenge + action(*md5),
        "MD5 with a secret": challenge + action(*md5, b"Secret: " + admin),
        "MD5 with a wrong Key": challenge + action(*md5, b"Key: " + b"0" * 32),
    }  # fmt: skip
    return [
        Stanza(f"failed login: {name}", text + PING, logged_in=False, closes=True)
        for name, text in raw.items()
    ]


def _sessions() -> List[Stanza]:
    challenge = action(b"Action: Challenge", b"AuthType: MD5", b"ActionID: c")
    logoff = action(b"Action: Logoff", b"ActionID: bye")
    before = {
        "nothing": b"", "Ping": PING, "MessageSend": send(b"Body: x"),
        "unknown action": action(b"Action: NoSuch", b"ActionID: x"),
        "no Action": action(b"ActionID: x"), "stray blank lines": b"\r\n\n" + PING,
        "too many lines": _lines(129) + PING,
        "a long line": action(b"Action: Ping", b"x" * 1023) + PING, "Challenge": challenge,
        "Challenge in another case": action(b"Action: challenge", b"AuthType: mD5"),
        "Challenge without AuthType": action(b"Action: Challenge", b"ActionID: x") + PING,
        "Challenge for another AuthType": action(b"Action: Challenge", b"AuthType: SHA"),
        "Challenge with a trailing space": action(b"Action: Challenge", b"AuthType: MD5 "),
        "Login, then Ping": login("messenger") + PING,
        "Login with LF ends": login("messenger").replace(b"\r\n", b"\n") + PING,
        "Login, user in another case": login("messenger").replace(b"mess", b"MESS") + PING,
        "Login, secret twice": login("messenger", b"Secret: wrong") + PING,
        "Login, a line too long": login("messenger", b"x" * 1500) + login("messenger"),
        "Login by another AuthType": login("messenger", b"AuthType: SHA") + PING,
    }  # fmt: skip
    inside = {
        "Ping": PING, "Ping, many": PING * 100, "Challenge": challenge,
        "Challenge twice": challenge * 2,
        "Challenge without AuthType": action(b"Action: Challenge") + PING,
        "second Login": login("messenger") + PING,
        "second Login, another user": login("reader", b"ActionID: l") + send(b"Body: x"),
        "second Login, wrong": action(b"Action: Login", b"Username: x", b"Secret: x") + PING,
    }  # fmt: skip
    logoffs = {
        "alone": logoff, "without ActionID": action(b"Action: Logoff"),
        "in another case": action(b"ACTION: LOGOFF"),
        "then more": logoff + PING + send(b"Body: late"),
        "after messages": send(b"Body: one") * 3 + logoff + PING,
    }  # fmt: skip
    return [
        *(Stanza(f"before login: {name}", raw, logged_in=False) for name, raw in before.items()),
        Stanza("before login: Logoff", logoff + PING, logged_in=False, closes=True),
        *(Stanza(f"logged in: {name}", raw) for name, raw in inside.items()),
        *(Stanza(f"Logoff {name}", raw, closes=True) for name, raw in logoffs.items()),
    ]


def _event_masks() -> List[Stanza]:
    """Return stanzas for a user who receives no events: only the responses count."""
    masks = {
        **{repr(mask): b"EventMask: " + mask for mask in EVENT_MASKS},
        "none": b"X: y", "twice": b"EventMask: off\r\nEventMask: on",
    }  # fmt: skip
    return _named({
        **{f"event mask: {name}": action(b"Action: Events", b"ActionID: e", line) + PING
           for name, line in masks.items()},
        **{f"event mask: ActionID of {size} bytes": b"".join(
            action(b"aCTION: eVENTS", b"ActionID: " + b"i" * size, b"EventMask: " + mask)
            for mask in (b"on", b"off", b"")
        ) + PING for size in (67, 242, 243, 244, 245, 246, 300, 1000)},
    })  # fmt: skip


#: Each takes a second, because the server delays its response.
FAILED_LOGINS = _failed_logins()

STANZAS: List[Stanza] = [
    *_overlong(), *_many_lines(), *_bodies(), *_line_ends(), *_names(), *_destinations(),
    *_grammar(), *_sessions(), *_event_masks(),
]  # fmt: skip
