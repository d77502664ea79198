"""The command ``amisend`` in parts; ``amiclient.__main__`` puts them together.

Reading order: ``exits``, what a shell sees of an end; ``options`` and ``settings``, what is asked,
of which server; ``wording``, an error told to a shell; ``interrupts``; ``dry_run`` and ``single``,
one text to a few recipients; ``source``, ``lines``, ``progress``, ``account`` and ``batch``, a file
of messages. What is slow to import is imported where it is used, so that ``--help`` is there at
once.
"""
