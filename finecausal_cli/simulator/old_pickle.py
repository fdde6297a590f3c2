"""Pickle as an old NumPy did, so that our copy of a published layout is read by what reads the original."""

from __future__ import annotations

import pickle
import pickletools

_PROTOCOL = 3
"""Of the published files. Without frames and with numbered memo entries, it survives a change of names."""

_NEW_HOME, _OLD_HOME = b"numpy._core.", b"numpy.core."


def old_pickle(data: object) -> bytes:
    """Return ``data`` pickled with protocol 3 and the module names of NumPy 1.

    NumPy 2 moved its core to ``numpy._core``; in protocol 3 every name is an opcode of its own (``c``, two lines of
    text), and only those are rewritten: text in the data that looks like a module stays as it is.
    """
    written = pickle.dumps(data, protocol=_PROTOCOL)
    pieces, copied = [], 0
    for opcode, _, position in pickletools.genops(written):
        if opcode.name == "GLOBAL" and position is not None and written.startswith(_NEW_HOME, position + 1):
            pieces += [written[copied : position + 1], _OLD_HOME]
            copied = position + 1 + len(_NEW_HOME)
    return b"".join([*pieces, written[copied:]])
