"""The log, for programs that log at all; others are spared the slow import of logging.

A program that wants to see it has imported :mod:`logging`, and one that has not would see nothing.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from logging import Logger
    from typing import Optional


class _Log:
    """The logger ``amiclient``, once there is a :mod:`logging`."""

    def __init__(self) -> None:
        self._logger: Optional[Logger] = None

    def debug(self, text: str, *values: object) -> None:
        """Log a line at DEBUG; formats nothing unless it is shown."""
        logger = self._logger
        if logger is None:
            logging = sys.modules.get("logging")
            if logging is None:
                return
            logger = self._logger = logging.getLogger("amiclient")
        logger.debug(text, *values)


log = _Log()
