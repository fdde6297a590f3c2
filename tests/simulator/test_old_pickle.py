from __future__ import annotations

import pickle
import pickletools

import numpy as np
import pytest

from finecausal_cli.simulator.dataset import old_pickle

ANNOTATION = {("01", 1): ["407c", np.float64(88.0), 3.2, np.array([2, 34]), np.arange(63)]}


def named_by(data: bytes) -> set[str]:
    """The globals that a pickle asks for, by an independent reader of its opcodes."""
    return {str(argument).replace(" ", ".") for opcode, argument, _ in pickletools.genops(data) if opcode.code == "c"}


def test_it_names_what_an_old_numpy_named_and_nothing_else():
    assert named_by(old_pickle(ANNOTATION)) == {
        "numpy.dtype",
        "numpy.ndarray",
        "numpy.core.multiarray._reconstruct",
        "numpy.core.multiarray.scalar",
    }


def test_the_protocol_is_three():
    assert old_pickle(ANNOTATION)[:2] == b"\x80\x03"
    assert max(opcode.proto for opcode, _, _ in pickletools.genops(old_pickle(ANNOTATION))) <= 3


@pytest.mark.filterwarnings("ignore:numpy.core is deprecated:DeprecationWarning")
def test_it_reads_back_as_it_was():
    read = pickle.loads(old_pickle(ANNOTATION))  # noqa: S301 - our own bytes
    number, score, difficulty, transitions, labels = read[("01", 1)]
    assert (number, score, difficulty) == ("407c", 88.0, 3.2)
    assert type(score) is np.float64
    np.testing.assert_array_equal(transitions, [2, 34])
    np.testing.assert_array_equal(labels, np.arange(63))


def test_text_that_looks_like_a_module_is_left_alone():
    text = "cnumpy._core.multiarray\nscalar\n"
    data = old_pickle([text, text.encode(), np.float64(1)])
    read = pickle.loads(data.replace(b"cnumpy.core.", b"cnumpy._core.", 1))  # noqa: S301 - our own bytes
    assert read == [text, text.encode(), 1.0]


def test_data_without_arrays_is_an_ordinary_pickle():
    data = {"a": [("01", 1), 2.5], "b": None}
    assert old_pickle(data) == pickle.dumps(data, protocol=3)
