"""The configuration files of a test server; none is read from /etc/asterisk."""

from __future__ import annotations

from typing import Dict, NamedTuple

#: The users of manager.conf, with characters in their secrets that parsers may get wrong.
USERS: Dict[str, str] = {
    # May send messages and receives no events: the minimum for MessageSend.
    "messenger": "m: s\\e\"n,d=(e)r[%]'$&#1",
    "admin": "a; d|m~i{n}`<>?!@^*_+-./2",
    # Receives every event and may not send messages.
    "reader": "r =>e a d\te:r 3",
    # May be logged in only once at a time.
    "single": "single=4:=",
}

#: The modules to load: the base, pjsip, chan_sip (removed in Asterisk 21), and the dialplan.
#: ``load`` ignores those that a version does not have.
MODULES = """
    res_timing_timerfd res_sorcery_config res_sorcery_memory res_sorcery_astdb res_http_websocket
    res_rtp_asterisk bridge_simple

    res_pjproject res_pjsip res_pjsip_session res_pjsip_messaging res_pjsip_path
    res_pjsip_endpoint_identifier_ip res_pjsip_endpoint_identifier_user
    res_pjsip_endpoint_identifier_anonymous res_pjsip_outbound_authenticator_digest

    chan_sip

    pbx_config app_dial app_stack app_userevent app_verbose
    func_channel func_db func_global func_strings func_uri
""".split()

#: Empty files, because missing ones would fill the log with errors.
_EMPTY = "acl ccss cdr cel features indications pjproject udptl".split()


class Ports(NamedTuple):
    """The loopback ports of one server, and the port of its phone."""

    ami: int
    ami_tls: int
    pjsip: int
    pjsip_tcp: int
    sip: int
    phone: int


def files(scratch: str, ports: Ports) -> Dict[str, str]:
    """Return every configuration file by name.

    :param scratch: the folder of the server, as a path inside its tree.
    """
    return {
        **{f"{name}.conf": "" for name in _EMPTY},
        "asterisk.conf": _asterisk(scratch),
        "modules.conf": "[modules]\nautoload = no\n" + "".join(f"load = {m}.so\n" for m in MODULES),
        "logger.conf": _LOGGER,
        "manager.conf": _manager(scratch, ports),
        "pjsip.conf": _pjsip(ports),
        "sip.conf": _sip(ports),
        "extensions.conf": _EXTENSIONS,
    }


def _asterisk(scratch: str) -> str:
    # astmoddir and astdatadir keep their compiled-in values.
    return f"""\
[directories]
astetcdir = {scratch}/etc
astvarlibdir = {scratch}/lib
astdbdir = {scratch}/lib
astkeydir = {scratch}/lib
astagidir = {scratch}/lib
astspooldir = {scratch}/spool
astcachedir = {scratch}/cache
astrundir = {scratch}/run
astlogdir = {scratch}/log

[options]
; Tests parse the output of the CLI.
nocolor = yes
"""


_LOGGER = """\
[general]
queue_log = no

[logfiles]
messages = notice,warning,error
"""


def _manager(scratch: str, ports: Ports) -> str:
    # authlimit is above the number of connections that tests open at once. authtimeout is long
    # enough for a slow machine, and short enough for a test to wait for it.
    return f"""\
[general]
enabled = yes
bindaddr = 127.0.0.1
port = {ports.ami}
tlsenable = yes
tlsbindaddr = 127.0.0.1:{ports.ami_tls}
tlscertfile = {scratch}/etc/server.pem
tlsprivatekey = {scratch}/etc/server.key
webenabled = no
authlimit = 1000
authtimeout = 10
displayconnects = no
{_user("messenger", "none", "message")}
{_user("admin", "all", "all")}
{_user("reader", "all", "system")}
{_user("single", "none", "message")}allowmultiplelogin = no
"""


def _user(name: str, read: str, write: str) -> str:
    # An unescaped semicolon starts a comment. Nothing else is escaped.
    secret = USERS[name].replace(";", "\\;")
    return f"[{name}]\nsecret = {secret}\nread = {read}\nwrite = {write}\n"


def _pjsip(ports: Ports) -> str:
    return f"""\
[system]
type = system
; Large messages stay on UDP.
disable_tcp_switch = yes

[udp]
type = transport
protocol = udp
bind = 127.0.0.1:{ports.pjsip}

[tcp]
type = transport
protocol = tcp
bind = 127.0.0.1:{ports.pjsip_tcp}

[alice]
type = endpoint
context = phones
disallow = all
allow = ulaw
aors = alice

[alice]
type = aor
contact = sip:alice@127.0.0.1:{ports.phone}

; Used for a bare URI without an endpoint.
[default_outbound_endpoint]
type = endpoint
context = phones
disallow = all
allow = ulaw
"""


def _sip(ports: Ports) -> str:
    return f"""\
[general]
udpbindaddr = 127.0.0.1:{ports.sip}
tcpenable = no
context = phones
allowguest = yes
accept_outofcall_message = yes
auth_message_requests = no
outofcall_message_context = phones

[alice]
type = peer
host = 127.0.0.1
port = {ports.phone}
qualify = no
disallow = all
allow = ulaw
"""


# Called by Originate with the channel Local/EXTENSION@capture, to produce events.
_EXTENSIONS = """\
[general]
static = yes
writeprotect = yes

[globals]
; Getvar of this returns a value that contains a line break.
BROKEN = unset

[phones]
; Calls from the phone.
exten = _X.,1,Hangup()

[capture]
; The other end of a bridge.
exten = answer,1,Answer()
 same = n,Wait(1)
 same = n,Hangup()

; Lines that look like another message. The application UserEvent drops lines without a colon and
; repeated keys; the action UserEvent echoes them.
exten = userevent,1,Answer()
 same = n,UserEvent(Odd,Response: Failure,ActionID: forged,no colon here,NoBlank:x,Empty:)
 same = n,UserEvent(Blanks,Leading:   three,Trailing: two  ,Tab:\tone)
 same = n,UserEvent(Twice,Key: first,Key: second,key: third)
 same = n,Hangup()

; Line breaks inside a value, which VarSet, Newexten and Getvar write in different ways.
exten = breaks,1,Answer()
 same = n,Set(BREAK=${URIDECODE(%0D%0A)})
 same = n,Set(GLOBAL(BROKEN)=before${BREAK}${BREAK}Response: Success${BREAK}Message: after)
 same = n,NoOp(before${BREAK}${BREAK}Event: Forged${BREAK}Key: value)
 same = n,NoOp(before${BREAK}${BREAK}Neither: one nor the other)
 same = n,NoOp(lone ${URIDECODE(%0D)} and ${URIDECODE(%0A)} inside)
 same = n,UserEvent(Break,Key: before${BREAK}Other: after)
 same = n,Hangup()

exten = variables,1,Answer()
 same = n,Set(PLAIN=value)
 same = n,Set(EMPTY=)
 same = n,Set(ODD=a=b: c)
 same = n,Set(BYTES=${URIDECODE(%ff%c3%a9%01)})
 same = n,Set(CHANNEL(language)=de)
 same = n,Set(DB(capture/key)=${LEN(${PLAIN})})
 same = n,Verbose(1,${DB(capture/key)})
 same = n,Gosub(subroutine,1(first,second))
 same = n,Hangup()

exten = subroutine,1,NoOp(${ARG1} and ${ARG2})
 same = n,Return()

; Two channels, a bridge, and both hang up.
exten = dial,1,Dial(Local/answer@capture,5)
 same = n,Hangup()

; Long enough to be inspected, redirected or hung up.
exten = wait,1,Answer()
 same = n,Wait(5)
 same = n,Hangup()

exten = busy,1,Hangup(17)
"""
