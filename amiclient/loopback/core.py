"""The responses of Asterisk to actions about the server itself, and the event of a UserEvent.

A test compares them with 16.28 and 22.10. Those of 11 are by its source.
"""

from __future__ import annotations

import re
import time
from typing import Callable, Dict, Iterable, List

from amiproto import Action, Event, Message, Response
from amiproto._text import action_lines, get_header, to_bytes
from amiproto.framing import END_COMMAND, FOLLOWS

from .script import EventList, action_id_line, response
from .versions import Version

#: The lines of ListCommands, one for each known action.
_ACTIONS = (
    "Challenge: Generate Challenge for MD5 Auth.  (Priv: <none>)",
    "Command: Execute Asterisk CLI Command.  (Priv: command,all)",
    "CoreSettings: Show PBX core settings (version etc).  (Priv: system,reporting,all)",
    "CoreShowChannels: List currently active channels.  (Priv: system,reporting,all)",
    "CoreStatus: Show PBX core status variables.  (Priv: system,reporting,all)",
    "Events: Control Event Flow.  (Priv: <none>)",
    "Getvar: Gets a channel variable or function value.  (Priv: call,reporting,all)",
    "ListCommands: List available manager commands.  (Priv: <none>)",
    "Login: Login Manager.  (Priv: <none>)",
    "Logoff: Logoff Manager.  (Priv: <none>)",
    "MessageSend: Send an out of call message to an endpoint.  (Priv: message,all)",
    "Ping: Keepalive command.  (Priv: <none>)",
    "Setvar: Sets a channel variable or function value.  (Priv: call,all)",
    "UserEvent: Send an arbitrary event.  (Priv: user,all)",
)

#: The size of Asterisk's buffer for the ActionID line of a response to CoreSettings and CoreStatus
#: (16.28, 22.10; 11 by its source). The rest of a longer line, with its CR LF, is lost.
_MAX_CORE_ID = 149

#: The response to an unknown action, and the size of Asterisk's buffer for it (16.28 and 22.10; 11
#: by its source).
_UNKNOWN_ACTION = (
    b"Invalid/unknown command: %s. Use Action: ListCommands to show available commands."
)
_MAX_UNKNOWN_ACTION = 511


def user_event(action: Action, version: Version) -> Event:
    """Return the event that a UserEvent causes, with the unchanged lines of the action."""
    name = get_header(action.wire, b"UserEvent")
    lines = [b"Event: UserEvent", b"Privilege: user,all", b"UserEvent: " + name]
    for line in action_lines(action.wire):
        if not line.lower().startswith(version.unsent_in_user_events):
            lines.append(line)
    return Event.from_wire(b"\r\n".join(lines) + b"\r\n\r\n")


class CoreActions:
    """The actions that do not depend on a connection. Each server has one instance."""

    def __init__(self, version: Version) -> None:
        self._version = version
        self._variables: Dict[bytes, bytes] = {}
        channels = EventList([], "Channels will follow")
        self._actions: Dict[str, Callable[[Action], Iterable[Message]]] = {
            "command": self._command,
            "coresettings": self._settings,
            "coreshowchannels": lambda action: channels.responses(action, version),
            "corestatus": self._status,
            "getvar": self._variable,
            "listcommands": self._list_actions,
            "ping": self._ping,
            "setvar": self._variable,
        }
        if version.has_data_get:
            self._actions["dataget"] = self._get_data
        calls = [b"0 active calls", b"0 calls processed"]
        built = b"built by nobody @ localhost on a x86_64 running Linux on 2026-01-01 00:00:00 UTC"
        #: The output of each CLI command.
        self._output: Dict[bytes, List[bytes]] = {
            b"core show calls": calls,
            b"core show channels count": [b"0 active channels", *calls],
            b"core show uptime": [b"System uptime: 0 seconds", b"Last reload: 0 seconds"],
            b"core show uptime seconds": [b"System uptime: 0", b"Last reload: 0"],
            b"core show version": [b"Asterisk %s %s" % (to_bytes(version.asterisk), built)],
        }

    def respond(self, action: Action) -> Iterable[Message]:
        """Return the response to an action, which may be unknown."""
        respond = self._actions.get(action.name.lower())
        if respond is not None:
            return respond(action)
        text = _UNKNOWN_ACTION % to_bytes(action.name)
        return [response(action, b"Error", text[:_MAX_UNKNOWN_ACTION])]

    def _command(self, action: Action) -> Iterable[Message]:
        command = get_header(action.wire, b"Command")
        if not command:
            return [response(action, b"Error", b"No command provided")]
        words = re.findall(rb"[^ \t]+", command)
        output = self._output.get(b" ".join(words).lower())
        name = b"Error" if output is None else b"Success"
        if output is None:
            text = b"No such command '%s' (type 'core show help %s' for other possible commands)"
            output = [text % (command, b" ".join(words[:2]))]
        if self._version.has_raw_output:
            text = b"".join([line + b"\n" for line in output])
            return [Response.from_wire(FOLLOWS + action_id_line(action) + text + END_COMMAND)]
        lines = b"".join([b"Output: %s\r\n" % line for line in output])
        return [response(action, name, b"Command output follows", lines)]

    def _settings(self, action: Action) -> Iterable[Message]:
        version = self._version
        text = (
            f"AMIversion: {version.ami}\r\nAsteriskVersion: {version.asterisk}\r\nSystemName: \r\n"
            "CoreMaxCalls: 0\r\nCoreMaxLoadAvg: 0.000000\r\nCoreRunUser: \r\nCoreRunGroup: \r\n"
            "CoreMaxFilehandles: 0\r\nCoreRealTimeEnabled: No\r\nCoreCDRenabled: Yes\r\n"
            f"CoreHTTPenabled: No\r\n{version.more_settings}"
        )
        return [response(action, b"Success", lines=to_bytes(text), max_id_line=_MAX_CORE_ID)]

    def _status(self, action: Action) -> Iterable[Message]:
        text = time.strftime(
            "CoreStartupDate: %Y-%m-%d\r\nCoreStartupTime: %H:%M:%S\r\n"
            "CoreReloadDate: %Y-%m-%d\r\nCoreReloadTime: %H:%M:%S\r\nCoreCurrentCalls: 0\r\n"
        )
        lines = to_bytes(text + self._version.more_status)
        return [response(action, b"Success", lines=lines, max_id_line=_MAX_CORE_ID)]

    def _ping(self, action: Action) -> Iterable[Message]:
        lines = b"Ping: Pong\r\nTimestamp: %.6f\r\n" % time.time()
        return [response(action, b"Success", lines=lines)]

    def _list_actions(self, action: Action) -> Iterable[Message]:
        lines = "".join(f"{line}\r\n" for line in _ACTIONS)
        return [response(action, b"Success", lines=to_bytes(lines))]

    def _get_data(self, action: Action) -> Iterable[Message]:
        has_path = get_header(action.wire, b"Path")
        message = b"No data returned" if has_path else b"'Path' parameter not specified"
        return [response(action, b"Error", message)]

    def _variable(self, action: Action) -> Iterable[Message]:
        name = get_header(action.wire, b"Variable")
        sets = action.name.lower() == "setvar"
        error = b""
        if not name:
            error = b"No variable specified"
        elif get_header(action.wire, b"Channel"):
            error = b"No such channel"
        elif sets and name.endswith(b")"):  # a function
            error = b"Variable not set"
        if error:
            return [response(action, b"Error", error)]
        if sets:
            # Asterisk strips up to two underscores, which mark variables that channels inherit.
            key = re.sub(b"^__?", b"", name)
            self._variables[self._key(key)] = get_header(action.wire, b"Value")
            return [response(action, b"Success", b"Variable Set")]
        value = self._variables.get(self._key(name), b"")
        lines = b"Variable: %s\r\nValue: %s\r\n" % (name, value)
        return [response(action, b"Success", lines=lines)]

    def _key(self, variable: bytes) -> bytes:
        return variable.lower() if self._version.ignores_case else variable
