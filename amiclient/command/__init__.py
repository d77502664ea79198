"""The parts of the command ``amisend``, which :mod:`amiclient.__main__` calls in order.

``options`` is the command line, with exit codes and errors. ``config`` finds the settings and makes
the client. ``signals`` handles SIGHUP, SIGINT and SIGTERM. ``send`` sends one text to recipients on
the command line, and ``batch`` a file of messages, which ``records`` reads.
"""
