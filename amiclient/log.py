"""The log, for programs that log at all; others are spared the slow import of logging.

A program that wants to see it has imported :mod:`logging`, and one that has not would see nothing.
"""

from __future__ import annotations

import sys


def debug(text: str, *values: object) -> None:
    """Log a line at DEBUG, where there is a :mod:`logging`; nothing is formatted unless shown."""
    logging = sys.modules.get("logging")
    if logging is not None:
        logging.getLogger("amiclient").debug(text, *values)
