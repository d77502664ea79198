"""A real Asterisk server as a child process: start it, run its CLI commands, stop it."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Dict, List, Mapping, Optional, Tuple

from tests.certificates import SERVER_KEY, SERVER_PEM
from tests.live import configuration
from tests.live.provision import asterisk_command, asterisk_version, system_environment

#: Seconds. A start takes one or two, and longer on a busy machine.
_START_TIMEOUT = 60.0
_STOP_TIMEOUT = 10.0
_CLI_TIMEOUT = 30.0

#: Stops the server if the test run is killed. The signal is tied to the thread that starts the
#: server, so that thread must outlive it.
_END_WITH_PARENT = ("setpriv", "--pdeathsig", "TERM")

_BANNER = b"Asterisk Call Manager/"

#: The module of each technology.
_TECHNOLOGIES = {"sip": "chan_sip.so", "pjsip": "res_pjsip_messaging.so", "xmpp": "res_xmpp.so"}


class ServerError(Exception):
    """The server did not start, or its CLI did not respond."""


class AsteriskServer:
    """One server with its own configuration and ports; a context manager.

    A stopped server can be started again, with the same ports and an empty database.

    :param place: the root folder of a tree, which only root can chroot into, or the path of an
        asterisk binary of this system.
    :param extra: text by the name of a configuration file, appended to the generated file of that
        name or written to a new one.
    """

    host = "127.0.0.1"

    def __init__(
        self, place: Path, *, phone_port: int, extra: Optional[Mapping[str, str]] = None
    ) -> None:
        self.place = place
        self.users: Dict[str, str] = dict(configuration.USERS)
        #: The certificate of the TLS port; self-signed, so it is its own CA.
        self.ca_file = SERVER_PEM
        self.version = asterisk_version(place)
        self.major = int(self.version.split(".")[0])
        #: The version of AMI, such as ``5.0.4``; empty until the server is started.
        self.ami_version = ""
        #: The available technologies, such as ``("sip", "pjsip")``; empty while it is stopped.
        self.technologies: Tuple[str, ...] = ()
        ami, ami_tls, pjsip_tcp = _free_ports(socket.SOCK_STREAM, 3)
        pjsip, sip = _free_ports(socket.SOCK_DGRAM, 2)
        self.ports = configuration.Ports(ami, ami_tls, pjsip, pjsip_tcp, sip, phone_port)
        #: The ports of plain AMI and of AMI over TLS.
        self.port, self.tls_port = ami, ami_tls
        self._extra = dict(extra or {})
        self._process: Optional[subprocess.Popen[bytes]] = None
        self._scratch: Optional[Path] = None

    def start(self) -> None:
        """Start the server and wait until it is fully booted; raise ServerError if it fails."""
        if self._process is not None:
            raise ServerError("already started")
        self._scratch = self._make_scratch()
        try:
            with (self._scratch / "console").open("wb") as console:
                # In a new session, so that Ctrl-C in a terminal reaches the tests only.
                self._process = subprocess.Popen(
                    [*_END_WITH_PARENT, *self._command("-f")],
                    env=self._environment(),
                    cwd="/",
                    stdin=subprocess.DEVNULL,
                    stdout=console,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            self._await_banner()
            # The banner is sent before the modules that send messages are loaded.
            self.cli("core waitfullybooted")
            self.technologies = tuple(
                name for name, module in _TECHNOLOGIES.items() if self._is_running(module)
            )
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop the server and remove its files, if it is running."""
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            try:
                process.wait(_STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        scratch, self._scratch = self._scratch, None
        if scratch is not None:
            shutil.rmtree(scratch, ignore_errors=True)
        self.technologies = ()

    def kill(self) -> None:
        """Kill the server without notice, as a crash does."""
        if self._process is not None:
            self._process.kill()
        self.stop()

    def send_signal(self, number: int) -> None:
        """Send a signal to the server, such as SIGSTOP to freeze it and SIGCONT to resume it."""
        assert self._process is not None
        self._process.send_signal(number)

    def cli(self, command: str) -> str:
        """Return the output of ``asterisk -rx`` for a command."""
        try:
            done = subprocess.run(
                self._command("-rx", command),
                env=self._environment(),
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=_CLI_TIMEOUT,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise ServerError(f"no output from {command!r}:\n{self.log_tail()}") from error
        text = done.stdout.decode("utf-8", "replace")
        if done.returncode != 0:
            raise ServerError(f"{command!r} failed: {text}\n{self.log_tail()}")
        return text

    def log_tail(self, lines: int = 40) -> str:
        """Return the last lines of the log and the console, for error messages."""
        if self._scratch is None:
            return ""
        logged: List[str] = []
        for path in (self._scratch / "console", self._scratch / "log/messages"):
            if path.exists():
                logged += path.read_text("utf-8", "replace").splitlines()[-lines:]
        return "\n".join(logged)

    def __enter__(self) -> AsteriskServer:
        self.start()
        return self

    def __exit__(self, *reason: object) -> None:
        self.stop()

    def _make_scratch(self) -> Path:
        # Below /tmp, because the path of the control socket is limited to 107 bytes.
        parent = self.place / "tmp" if self.place.is_dir() else Path("/tmp")
        scratch = Path(tempfile.mkdtemp(prefix="amiclient-", dir=parent))
        for name in ("etc", "lib", "spool", "cache", "run", "log"):
            (scratch / name).mkdir()
        etc = scratch / "etc"
        for path in (SERVER_PEM, SERVER_KEY):
            shutil.copy(path, etc)
        texts = configuration.files(self._seen_inside(scratch), self.ports)
        for name in {*texts, *self._extra}:
            text = texts.get(name, "") + self._extra.get(name, "")
            (etc / name).write_text(text, "utf-8")
        return scratch

    def _seen_inside(self, path: Path) -> str:
        return f"/{path.relative_to(self.place)}" if self.place.is_dir() else str(path)

    def _command(self, *arguments: str) -> List[str]:
        assert self._scratch is not None, "the server is not started"
        conf = self._seen_inside(self._scratch / "etc/asterisk.conf")
        return [*asterisk_command(self.place), "-C", conf, *arguments]

    def _environment(self) -> Dict[str, str]:
        # asterisk -rx keeps its history in HOME.
        assert self._scratch is not None, "the server is not started"
        return {**system_environment(), "HOME": self._seen_inside(self._scratch)}

    def _await_banner(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + _START_TIMEOUT
        while time.monotonic() < deadline:
            code = self._process.poll()
            if code is not None:
                raise ServerError(f"asterisk ended with exit code {code}:\n{self.log_tail()}")
            try:
                with socket.create_connection((self.host, self.port), timeout=1.0) as connection:
                    with connection.makefile("rb") as stream:
                        line = stream.readline()
                        if line.startswith(_BANNER):
                            self.ami_version = line[len(_BANNER) :].decode().rstrip()
                            return
            except OSError:
                pass
            time.sleep(0.02)
        raise ServerError(f"no banner within {_START_TIMEOUT} s:\n{self.log_tail()}")

    def _is_running(self, module: str) -> bool:
        rows = self.cli(f"module show like {module}").splitlines()
        return any(row.startswith(module) and "Not Running" not in row for row in rows)


def _free_ports(kind: socket.SocketKind, count: int) -> List[int]:
    # All sockets stay open until the last is bound, so that the ports differ.
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket(socket.AF_INET, kind)) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
