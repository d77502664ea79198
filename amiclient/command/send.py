"""Send one text to each recipient on the command line, one after the other."""

from __future__ import annotations

import argparse
import os
import sys
from typing import List, Optional

from amiproto import Action, AMIError, MessageSend, split_body

from ..client import Client
from ..exceptions import ActionFailed
from .options import CommandError, Exit, describe_error, exit_code, report, worst_code, write_out
from .signals import Signals

#: Limit for a text in bytes, far above that of several messages, so that memory is bounded.
_MAX_TEXT = 1024 * 1024

#: The error message for a MessageSend without To, if the user may send (11.25, 16.28, 22.10).
_MISSING_TO = "No 'To' address specified."


def build_messages(options: argparse.Namespace) -> List[List[MessageSend]]:
    """Return the messages for each recipient: several if ``--split`` is given and the text is long.

    :raises CommandError: if the text is missing, too long, or not UTF-8.
    :raises LocalProtocolError: if any message cannot be sent exactly; then none is sent.
    """
    body = _read_body(options.body_file) if options.body is None else options.body
    parts = split_body(body) if options.split else [body]
    if not parts[-1].strip("\r\n"):
        parts = parts[:-1] or parts  # no last message of line ends only
    return [
        [MessageSend(**{**options.message, "to": to, "body": part}) for part in parts]
        for to in options.to
    ]


def show_message(message: MessageSend) -> None:
    """Print the exact bytes of a message, with a random ActionID as a session makes.

    The text of a Base64Body is printed to standard error, as a comment.
    """
    write_out(message.with_action_id(os.urandom(16).hex()).wire)
    if b"\r\nBase64Body: " in message.wire:
        report(f"# Base64Body: {message.text!r}")


def send_to_all(client: Client, options: argparse.Namespace, signals: Signals) -> int:
    """Read the text, connect, send to all recipients, and report each result.

    :return: the exit code (int).
    :raises CommandError, LocalProtocolError: as :func:`build_messages`.
    :raises AMIError: if connecting fails; nothing was sent.
    :raises OSError: if a result cannot be written; nothing is sent after that.
    """
    recipients = build_messages(options)
    signals.connect(client)
    codes: List[int] = []
    stopped = ""
    failure: Optional[OSError] = None
    for messages in recipients:
        for message in messages:
            if signals.signum is not None:
                stopped = f"received {signals.name}"
            if stopped:
                report(f"{message.to}: not sent: {stopped}")
                break
            try:
                receipt = client.send(message)
            except AMIError as error:
                report(f"{message.to}: {describe_error(error, options.sources)}")
                codes.append(exit_code(error))
                break  # without one part of a text, the later ones are not sent either
            result = f"{message.to}: {receipt.server_message} (ActionID {receipt.action_id})"
            try:
                if not options.quiet:
                    write_out(result)
            except OSError as error:
                failure, stopped = error, "the result of an earlier message cannot be written"
                report(result)
    if failure is not None:
        raise failure
    return worst_code(codes)


def check(client: Client, options: argparse.Namespace, signals: Signals) -> int:
    """Log in and report whether the user may send messages; return the exit code (int).

    :raises AMIError: if connecting fails, or the user may not send messages.
    """
    signals.connect(client)
    try:
        # Asterisk checks the permission before the arguments: nothing is sent in any case.
        client.send_action(Action("MessageSend"))
    except ActionFailed as error:
        if error.server_message != _MISSING_TO:
            raise
    if not options.quiet:
        write_out(f"{client.host} port {client.port}: logged in; the user may send messages")
    return Exit.OK


def _read_body(path: Optional[str]) -> str:
    """Return the text of a file; without a path, standard input without its last line end."""
    name = "standard input" if path is None or path == "-" else path
    try:
        if path is not None and path != "-":
            with open(path, "rb") as file:
                data = file.read(_MAX_TEXT + 1)
        elif sys.stdin is None:
            raise CommandError(Exit.NOINPUT, "no message text: use --body or standard input")
        else:
            if sys.stdin.isatty():
                report("type the text, then Ctrl-D")
            data = sys.stdin.buffer.read(_MAX_TEXT + 1)
    except OSError as error:
        raise CommandError(Exit.NOINPUT, f"cannot read {name}: {error}") from error
    if len(data) > _MAX_TEXT:
        raise CommandError(Exit.DATAERR, f"{name} exceeds {_MAX_TEXT} bytes")
    if path is None and data.endswith(b"\n"):
        data = data[: -2 if data.endswith(b"\r\n") else -1]
    if not data:
        raise CommandError(Exit.NOINPUT, f"{name} is empty; use --body '' to send an empty message")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise CommandError(Exit.DATAERR, f"{name} is not UTF-8 at byte {error.start}") from None
