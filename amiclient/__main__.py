"""The command ``amisend``, also ``python3 -m amiclient``: one message from the shell."""

from __future__ import annotations

import argparse
import io
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List, Optional, Tuple, Union

    from amiproto import AMIError, MessageSend

_EPILOG = """\
exit codes:
  0  the server took the message (which is not yet: it was delivered)
  1  the server answered with an error
  2  the command line is wrong
  3  the message would not arrive as it is, and was not sent
  4  no connection, or what answers is no Asterisk manager
  5  the server closed the connection before anything was sent
  6  the server did not answer in time, and nothing was sent
  7  the server did not accept user and secret
  8  the message left, and no answer came or could be shown: it may have been sent

environment: AMI_HOST, AMI_PORT, AMI_USERNAME and AMI_SECRET stand in for the options.
"""


class _BadInput(Exception):
    """The message or the secret cannot be read from where the command line says."""


def main(arguments: Optional[List[str]] = None) -> int:
    """Run the command.

    :param arguments: the command line without the name of the command (list of str); None for
        that of the process.
    :return: the exit code (int), as ``--help`` lists them.
    """
    options = _parser().parse_args(arguments)
    from amiproto import AMIError

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # any text can be shown
    try:
        return _send(options)
    except AMIError as error:
        print("amisend:", " ".join(str(error).split()), file=sys.stderr)
        return _exit_code(error)
    except _BadInput as error:
        print(f"amisend: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        # Standard output is closed or full. Python would try to write to it once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        print(f"amisend: the answer cannot be shown: {error}", file=sys.stderr)
        return 8
    except KeyboardInterrupt:
        print("amisend: interrupted", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="amisend",
        description="Send a message through Asterisk (AMI MessageSend), exactly or not at all.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--to", required=True, help="pjsip:alice, sip:alice, xmpp:alice@example.org, ...")
    add("--from", dest="from_", metavar="FROM", help="'Door <sip:door@example.org>', ...")
    add("--body", help="the text; from standard input, byte for byte, where this is missing")
    add(
        "--variable",
        action="append",
        default=[],
        type=_pair,
        metavar="NAME=VALUE",
        help="a header of the SIP message; may be given more than once",
    )
    add("--destination", help="route by this, not by --to (Asterisk 16.22, 18.8, 19 and later)")
    add("--split", action="store_true", help="send a text that is too long in several messages")
    add("--host", default=os.environ.get("AMI_HOST") or "127.0.0.1", help="default 127.0.0.1")
    port = os.environ.get("AMI_PORT") or None
    add("--port", type=int, default=port, help="default 5038; 5039 with TLS")
    add("--username", default=os.environ.get("AMI_USERNAME"), help="section of manager.conf")
    add("--secret-file", metavar="FILE", help="file with the secret; default: AMI_SECRET")
    add("--timeout", type=float, default=10.0, metavar="SECONDS", help="for each step; default 10")
    add("--tls", action="store_true", help="use TLS, and trust the system's CAs")
    add("--cafile", metavar="FILE", help="use TLS, and trust this CA or server certificate (PEM)")
    add(
        "--loopback",
        action="store_true",
        help="send to a server inside this command, and show what it received",
    )
    return parser


def _pair(text: str) -> Tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


def _send(options: argparse.Namespace) -> int:
    from amiproto import MessageSend, split_body

    body = _body(options.body)
    address = (options.from_, options.variable, options.destination)
    parts = split_body(body.decode()) if options.split and _is_text(body) else [body]
    # Built here so that what cannot be sent is refused before there is a connection.
    messages = [MessageSend(options.to, part, *address) for part in parts]
    if not options.loopback:
        _deliver(messages, options, options.host, options.port)
        return 0
    if options.tls or options.cafile is not None:
        _parser().error("--loopback has no TLS: leave --tls and --cafile out")
    from .loopback import SECRET, USERNAME, LoopbackServer

    with LoopbackServer() as server:
        _deliver(messages, options, server.host, server.port, (USERNAME, SECRET))
        for message in server.messages:
            _show(message)
    return 0


def _deliver(
    messages: List[MessageSend],
    options: argparse.Namespace,
    host: str,
    port: Optional[int],
    login: Optional[Tuple[str, Union[str, bytes]]] = None,
) -> None:
    from .client import Client

    tls = options.tls if options.cafile is None else options.cafile
    username, secret = _login(options) if login is None else login
    with Client(
        host, port, username=username, secret=secret, timeout=options.timeout, tls=tls
    ) as client:
        for message in messages:
            receipt = client.send(message)
            print(f"{receipt.server_message} (ActionID {receipt.action_id})", flush=True)


def _body(text: Optional[str]) -> bytes:
    if text is None:
        if sys.stdin is None:
            raise _BadInput("no --body was given, and standard input is closed")
        try:
            return sys.stdin.buffer.read()
        except OSError as error:
            raise _BadInput(f"standard input: {error}") from error
    try:
        return text.encode()
    except UnicodeEncodeError:
        return os.fsencode(text)  # the bytes that the shell gave


def _is_text(body: bytes) -> bool:
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


def _login(options: argparse.Namespace) -> Tuple[str, Union[str, bytes]]:
    if not options.username:
        _parser().error("no user: give --username or set AMI_USERNAME")
    if options.secret_file is not None:
        try:
            with open(options.secret_file, "rb") as file:
                return options.username, file.read().rstrip(b"\r\n")
        except OSError as error:
            raise _BadInput(str(error)) from error
    secret = os.environ.get("AMI_SECRET")
    if secret is None:
        _parser().error("no secret: give --secret-file or set AMI_SECRET")
    return options.username, secret


def _show(message: MessageSend) -> None:
    print("The loopback server received:")
    print(f"  To: {message.to}")
    if message.from_ is not None:
        print(f"  From: {message.from_}")
    if message.destination is not None:
        print(f"  Destination: {message.destination}")
    for name, value in message.variables:
        print(f"  Variable: {name}={value}")
    print(f"  Body: {message.text!r}", flush=True)


def _exit_code(error: AMIError) -> int:
    from amiproto import LocalProtocolError, LoginRefused

    from . import errors

    for kind, code in (
        (errors.Refused, 1),
        (LocalProtocolError, 3),
        (errors.ConnectError, 4),
        (errors.NotAManager, 4),
        (errors.ServerClosed, 5),
        (errors.NotSent, 6),
        (LoginRefused, 7),
    ):
        if isinstance(error, kind):
            return code
    return 8


if __name__ == "__main__":
    sys.exit(main())
