"""Make the trees of the live tests: Debian systems with Asterisk in a folder, kept in a cache.

Run as ``python3 tests/live/provision.py``. It needs root, the network, debootstrap and the Debian
archive keyring. To renew a tree, delete its folder and run this again.

Environment: ``AMICLIENT_LIVE_CACHE`` is the cache folder, ``AMICLIENT_LIVE_MIRROR`` a Debian mirror
for debootstrap.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Dict, Iterator, List

#: The oldest suite with Asterisk that is still signed (16, with chan_sip), and the newest (22).
SUITES = ("bullseye", "sid")

#: Includes sbin, which may be missing from PATH in a CI job or for an ordinary user.
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_PACKAGES = "asterisk,asterisk-modules,asterisk-config"
_LOG_LINES_SHOWN = 15


class ProvisionError(Exception):
    """A tree cannot be made, or does not work."""


def cache_folder() -> Path:
    """Return the folder of the trees, which is outside of the checkout."""
    chosen = os.environ.get("AMICLIENT_LIVE_CACHE")
    if chosen:
        return Path(chosen).resolve()
    caches = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(caches).expanduser().resolve() / "amiclient-live"


def tree(suite: str) -> Path:
    """Return the folder of a suite's tree, which need not exist."""
    return cache_folder() / suite


def is_complete(root: Path) -> bool:
    """Return True if a tree is complete: debootstrap removes its work folder at the end."""
    # os.path returns False for a folder that cannot be entered; pathlib raises an error.
    program, unfinished = root / "usr/sbin/asterisk", root / "debootstrap"
    return os.path.exists(program) and not os.path.exists(unfinished)


def asterisk_command(place: Path) -> List[str]:
    """Return the command that runs Asterisk, in a tree or directly."""
    return ["chroot", str(place), "asterisk"] if place.is_dir() else [str(place)]


def asterisk_version(place: Path) -> str:
    """Return the version of a tree or a binary, such as ``16.28.0``, by running it."""
    command = [*asterisk_command(place), "-V"]
    try:
        done = subprocess.run(
            command,
            env=system_environment(),
            timeout=60,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ProvisionError(f"{' '.join(command)}: {error}") from error
    text = done.stdout.decode("utf-8", "replace").strip()
    found = re.search(r"^Asterisk \D*(\d+(?:\.\d+)*)", text, re.MULTILINE)
    if done.returncode != 0 or not found:
        raise ProvisionError(f"{' '.join(command)}: exit code {done.returncode}: {text}")
    return found.group(1)


def system_environment() -> Dict[str, str]:
    """Return the environment for system tools: a full PATH and English messages."""
    return {**os.environ, "PATH": SYSTEM_PATH, "LC_ALL": "C"}


def ensure(suite: str) -> Path:
    """Return the root of a suite's tree; make the tree if it is missing."""
    root = tree(suite)
    if is_complete(root):
        return root
    if os.geteuid() != 0:
        raise ProvisionError(f"no tree at {root}, and only root can make one")
    if not shutil.which("debootstrap", path=SYSTEM_PATH):
        raise ProvisionError(f"no tree at {root}, and debootstrap is not installed")
    root.parent.mkdir(parents=True, exist_ok=True)
    with _locked(root.parent / f"{suite}.lock"):
        # Another run may have made it in the meantime.
        if not is_complete(root):
            _make(suite, root)
    return root


def _make(suite: str, root: Path) -> None:
    # Renamed when it is complete, so that an interrupted run leaves no partial tree.
    partial = root.with_name(f"{suite}.partial")
    for leftover in (partial, root):
        _remove(leftover)
    log = root.with_name(f"{suite}.log")
    command = ["debootstrap", "--variant=minbase", "--force-check-gpg", f"--include={_PACKAGES}"]
    command += [suite, str(partial)]
    mirror = os.environ.get("AMICLIENT_LIVE_MIRROR")
    if mirror:
        command.append(mirror)
    print(f"making {root}, which takes a minute or two; log: {log}", file=sys.stderr)
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
    """Return the proxy of apt as environment variables, because debootstrap ignores it."""
    try:
        done = subprocess.run(
            ["apt-config", "shell", "proxy", "Acquire::http::Proxy"],
            env=system_environment(),
            stdout=subprocess.PIPE,
            check=False,
        )
    except OSError:
        return {}
    found = re.match(r"proxy='(.+)'", done.stdout.decode("utf-8", "replace"))
    return {"http_proxy": found.group(1)} if found else {}


def _remove(folder: Path) -> None:
    # A killed debootstrap leaves these mounted; deleting through a mount would damage the host.
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
    """Make the missing trees, and print the root of each tree."""
    form = argparse.RawDescriptionHelpFormatter
    argparse.ArgumentParser(description=__doc__, formatter_class=form).parse_args()
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
