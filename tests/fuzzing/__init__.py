"""Fuzzing: properties that must hold for arbitrary bytes, and the inputs to start from.

``connections``, ``sessions``, ``messages`` and ``loopbacks`` each have a function that takes an
input and raises AssertionError if a property does not hold. They share ``reading``.
``targets`` lists these functions with the ``samples`` that their inputs are made of.
``tests/fuzz.py`` generates random inputs. The folder ``corpus`` has inputs found by coverage-guided
fuzzing, which ``tests/test_fuzz.py`` runs: a file per target, and a line per input.
"""
