"""Trees of real Asterisk servers: Debian systems in a folder, made once and kept in a cache.

A script of its own, because it is slow, needs the network, and is all that a CI job has
to run beforehand: ``python3 tests/live/provision.py``. Making a tree needs root, debootstrap
and the Debian archive keyring. To renew a tree, delete its folder and run this again.

Environment: ``AMICLIENT_LIVE_CACHE`` is the cache folder, ``AMICLIENT_LIVE_MIRROR`` a Debian mirror
to use in place of debootstrap's own.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Dict, Iterator, List

#: The oldest suite still signed with Asterisk in it (16, with chan_sip), and the newest (22).
SUITES = ("bullseye", "sid")

#: Administration tools live in sbin, which the PATH of a CI job or a plain user may lack.
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_PACKAGES = "asterisk,asterisk-modules,asterisk-config"
_LOG_LINES_SHOWN = 15


class ProvisionError(Exception):
    """A tree cannot be made or does not work; the text says what to do about it."""


def cache_folder() -> Path:
    """Where the trees are kept: outside the checkout, so that a clean checkout keeps them."""
    chosen = os.environ.get("AMICLIENT_LIVE_CACHE")
    if chosen:
        return Path(chosen).resolve()
    caches = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(caches).expanduser().resolve() / "amiclient-live"


def tree(suite: str) -> Path:
    """The folder of a suite's tree, whether or not there is one."""
    return cache_folder() / suite


def is_complete(root: Path) -> bool:
    """Whether a tree is whole: debootstrap removes its own work folder only when it is done."""
    # os.path, for it takes a folder that one may not enter for a missing one.
    program, unfinished = root / "usr/sbin/asterisk", root / "debootstrap"
    return os.path.exists(program) and not os.path.exists(unfinished)


def asterisk_version(root: Path) -> str:
    """The version of the Asterisk in a tree, such as ``16.28.0``; proves that chroot works."""
    return read_version(["chroot", str(root), "asterisk"])


def read_version(command: List[str]) -> str:
    """The version that an Asterisk started by this command says it has."""
    command = [*command, "-V"]
    try:
        answer = subprocess.run(
            command,
            env=system_environment(),
            timeout=60,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ProvisionError(f"{' '.join(command)}: {error}") from error
    text = answer.stdout.decode("utf-8", "replace").strip()
    found = re.search(r"^Asterisk \D*(\d+(?:\.\d+)*)", text, re.MULTILINE)
    if answer.returncode != 0 or not found:
        raise ProvisionError(f"{' '.join(command)}: exit code {answer.returncode}: {text}")
    return found.group(1)


def system_environment() -> Dict[str, str]:
    """The environment for system tools: a full PATH, and messages that are not translated."""
    return {**os.environ, "PATH": SYSTEM_PATH, "LC_ALL": "C"}


def ensure(suite: str) -> Path:
    """The root of a suite's complete tree, which is made first where it is missing."""
    root = tree(suite)
    if is_complete(root):
        return root
    if os.geteuid() != 0:
        raise ProvisionError(f"there is no tree at {root}, and only root can make one")
    if not shutil.which("debootstrap", path=SYSTEM_PATH):
        raise ProvisionError(f"there is no tree at {root}, and no debootstrap to make one")
    root.parent.mkdir(parents=True, exist_ok=True)
    with _locked(root.parent / f"{suite}.lock"):
        # Another run may have made it while this one waited for the lock.
        if not is_complete(root):
            _make(suite, root)
    return root


def _make(suite: str, root: Path) -> None:
    # The name changes only when all is done, so an interrupted run leaves nothing that looks whole.
    partial = root.with_name(f"{suite}.partial")
    for leftover in (partial, root):
        _remove(leftover)
    log = root.with_name(f"{suite}.log")
    command = ["debootstrap", "--variant=minbase", "--force-check-gpg", f"--include={_PACKAGES}"]
    command += [suite, str(partial)]
    mirror = os.environ.get("AMICLIENT_LIVE_MIRROR")
    if mirror:
        command.append(mirror)
    print(f"making {root}, which takes a minute or two; see {log}", file=sys.stderr)
    with log.open("wb") as output:
        code = subprocess.call(
            command,
            env={**_proxy_of_apt(), **system_environment()},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    if code != 0:
        last = log.read_text("utf-8", "replace").splitlines()[-_LOG_LINES_SHOWN:]
        reason = f"debootstrap {suite} failed with exit code {code}:"
        raise ProvisionError("\n".join([reason, *last]))
    asterisk_version(partial)
    partial.rename(root)


def _proxy_of_apt() -> Dict[str, str]:
    """The proxy set for apt, which debootstrap does not look at by itself."""
    try:
        answer = subprocess.run(
            ["apt-config", "shell", "proxy", "Acquire::http::Proxy"],
            env=system_environment(),
            stdout=subprocess.PIPE,
            check=False,
        )
    except OSError:
        return {}
    found = re.match(r"proxy='(.+)'", answer.stdout.decode("utf-8", "replace"))
    return {"http_proxy": found.group(1)} if found else {}


def _remove(folder: Path) -> None:
    # A killed debootstrap leaves these mounted, and deleting through a mount reaches the host.
    for name in ("proc", "sys", "dev"):
        if os.path.ismount(folder / name):
            raise ProvisionError(f"unmount {folder / name} first: an earlier run left it mounted")
    if folder.exists():
        shutil.rmtree(folder)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def main() -> int:
    """Make every tree that is missing, and print the roots."""
    try:
        for suite in SUITES:
            root = ensure(suite)
            asterisk_version(root)
            print(root)
    except ProvisionError as error:
        print(f"provision: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
