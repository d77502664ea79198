"""The log, for programs that log at all; others are spared the slow import of logging.

A program that wants to see it has imported :mod:`logging`, and one that has not would see nothing.
"""

from __future__ import annotations

import sys


def debug(text: str, *values: object) -> None:
    """Log a line at DEBUG, where there is a :mod:`logging`; nothing is formatted unless shown."""
    # Another thread may be in the middle of that import.
    get_logger = getattr(sys.modules.get("logging"), "getLogger", None)
    if get_logger is not None:
        get_logger("amiclient").debug(text, *values)
