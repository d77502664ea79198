"""The library under bytes that nobody has chosen, and the laws that hold whatever they are.

Reading order: ``reading``, how an input becomes a stream, and a stream events; the laws, of
``connections``, ``sessions``, ``messages`` and ``loopbacks``: functions of bytes that raise
AssertionError where a law is broken, and take no error but those that are documented; ``samples``
and ``targets``, what a search begins with. ``tests/fuzz.py`` searches at random, with nothing but
Python; ``guided`` searches by coverage, with atheris, in processes of ``guided_process``. What led
it somewhere new is in the folder ``inputs``, read by ``kept``, and run by ``tests/test_fuzz.py``.
"""
