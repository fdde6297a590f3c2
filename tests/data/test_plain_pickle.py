"""What is plain is read as Python's own reader reads it; what asks for anything else is named, and nothing runs."""

import builtins
import collections
import copyreg
import datetime
import functools
import os
import pickle
import re
import struct
import subprocess
import sys

import numpy as np
import pytest

from finecausal_cli.data import annotation as plain_pickle
from finecausal_cli.data.annotation import read_plain_pickle
from finecausal_cli.errors import DatasetError

PLAIN = {
    ("FINADivingWorldCup2021_Men3m_final_r1", 0): ["407c", 88.0, 3.2, (2, 34), None],
    ("01", 1): ["5253b", 0.0, -1, [True, False], {"a": b"\x00\xff", "b": 2**70, 3: -(2**40)}],
    "é飛": [[], {}, (), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), "x" * 300, b"y" * 300],
}


@pytest.fixture
def read(tmp_path):
    def read_bytes(content):
        path = tmp_path / "labels.pkl"
        path.write_bytes(content)
        return read_plain_pickle(path)

    return read_bytes


def refusal(read, content):
    with pytest.raises(DatasetError) as caught:
        read(content)
    assert caught.value.where.endswith("labels.pkl")
    return caught.value.what


@pytest.mark.parametrize("protocol", range(6))
def test_plain_data_is_read_as_python_reads_it(read, protocol):
    shared = [1, 2]
    content = pickle.dumps([PLAIN, shared, shared], protocol)
    found = read(content)
    assert found == pickle.loads(content) == [PLAIN, shared, shared]  # noqa: S301 - made here
    assert found[1] is found[2]
    assert type(found[0]["01", 1][3][0]) is bool


@pytest.mark.parametrize("protocol", range(5))
@pytest.mark.parametrize("dtype", ["<i8", "<i4", ">i2", "u1", "<f8", "<f4", "?", "S3", "<U2"])
def test_arrays_and_their_scalars_are_read_as_numpy_reads_them(read, protocol, dtype):
    array = np.arange(12).astype(dtype).reshape(3, 4)
    # Without bytes of its own, an empty array in an old protocol asks for a function that makes some.
    for one in (array, np.asfortranarray(array), array.ravel(), *([array[:0]] if protocol > 2 else [])):
        content = pickle.dumps({"a": one}, protocol)
        found = read(content)["a"]
        assert found.dtype == pickle.loads(content)["a"].dtype  # noqa: S301 - made here
        assert found.shape == one.shape
        assert np.array_equal(found, one)
    (scalar,) = read(pickle.dumps([array[1, 1]], protocol))
    assert scalar == array[1, 1].item()
    assert type(scalar) is type(array[1, 1].item())


def test_the_names_of_an_old_numpy_are_known(read):
    new = pickle.dumps([np.float64(88.0), np.array([2, 34])], 3)
    old = new.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    assert old != new
    score, transitions = read(old)
    assert score == 88.0
    assert transitions.tolist() == [2, 34]


def test_an_array_that_python_2_wrote_is_read(read):
    # The bytes of an array were a text of Python 2: the steps SHORT_BINSTRING instead of SHORT_BINBYTES.
    new = pickle.dumps(np.array([2, 255], "<i2"), 3)
    old = new.replace(b"C\x04\x02\x00\xff\x00", b"U\x04\x02\x00\xff\x00").replace(b"C\x01b", b"U\x01b")
    assert old != new
    assert read(old).tolist() == [2, 255]


class Calls:
    """An object whose pickle calls a function when Python reads it."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


MARKED = "touch {0}"


def malicious(mark):
    """Pickles that leave a file when Python's own reader, or an allow-list with a hole, reads them."""
    system, command = os.system, MARKED.format(mark)
    numpy_state = b"(K\x01K\x01\x85c_codecs\nencode\nX\x01\x00\x00\x00bX\x06\x00\x00\x00latin1\x86R"
    payload = pickle.dumps(Calls(system, command), 2)[2:-1]
    return {
        "posix.system": pickle.dumps(Calls(system, command), 2),
        "builtins.eval": pickle.dumps(Calls(builtins.eval, f"open({str(mark)!r}, 'w')"), 3),
        "__builtin__.eval": pickle.dumps(Calls(builtins.eval, f"open({str(mark)!r}, 'w')"), 2),
        "builtins.getattr": b"\x80\x04\x8c\x08builtins\x8c\x07getattr\x93(X\x01\x00\x00\x00aX\x01\x00\x00\x00btR.",
        "subprocess.Popen": pickle.dumps([1, {"a": Calls(subprocess.Popen, ["touch", str(mark)])}], 4),
        "functools.partial": pickle.dumps(functools.partial(system, command), 3),
        "numpy.f2py.diagnose.run": b"\x80\x03cnumpy.f2py.diagnose\nrun\n)R.",
        "numpy.load": b"\x80\x03cnumpy\nload\nX\x01\x00\x00\x00a\x85R.",
        "numpy.core.multiarray.fromfile": b"\x80\x03cnumpy.core.multiarray\nfromfile\n)R.",
        "collections.OrderedDict": pickle.dumps(collections.OrderedDict(), 3),
        "datetime.date": pickle.dumps(datetime.date(2021, 1, 1), 3),
        "os.system by its step INST": b"(S'" + command.encode() + b"'\nios\nsystem\n.",
        "os.system": b"(cos\nsystem\nS'" + command.encode() + b"'\no.",
        "numpy.ndarray with a shape": b"(cnumpy\nndarray\nS'a'\no.",
        "the persistent object os.system": b"Pos.system\n.",
        "the persistent object 1": b"K\x01Q.",
        "a state for a function": b"\x80\x02cnumpy\ndtype\nK\x01\x85b.",
        # The state of a function could be its defaults: ``__setstate__`` must come before ``setattr``.
        "a state for a function by slots": b"\x80\x02c_codecs\nencode\nN}X\x09\x00\x00\x00_functionK\x01s\x86b.",
        # Behind what is allowed: as a key, a value, a state, an argument.
        "posix.system in a state": b"\x80\x03cnumpy.core.multiarray\n_reconstruct\n"
        b"cnumpy\nndarray\nK\x00\x85C\x01b\x87R(" + payload + b"tb.",
        "posix.system in an argument": b"\x80\x02c_codecs\nencode\n" + payload + b"\x85R" + numpy_state + b".",
        "posix.system as a key": b"\x80\x02}" + payload + b"K\x01s.",
        # Objects smuggled in an array.
        "numpy.dtype('O8')": pickle.dumps(np.array([Calls(system, command)], dtype=object), 3),
        "numpy.dtype('V16')": pickle.dumps(np.zeros(1, [("a", "O"), ("b", "i8")]), 3),
        "numpy.dtype('M8')": pickle.dumps(np.array(["2021-01-01"], "M8[D]"), 3),
        "_codecs.encode with other arguments": b"\x80\x02c_codecs\nencode\n"
        b"X\x01\x00\x00\x00aX\x05\x00\x00\x00rot13\x86R.",
        "numpy.core.multiarray._reconstruct with other": b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n"
        b"cnumpy\ndtype\nK\x00\x85X\x01\x00\x00\x00b\x87R.",
    }


NAMES = tuple(malicious("x"))


@pytest.mark.parametrize("name", NAMES)
def test_what_asks_for_anything_else_is_named_and_nothing_runs(read, tmp_path, name):
    mark = tmp_path / "ran"
    modules = set(sys.modules)
    said = refusal(read, malicious(mark)[name])
    asked = re.split(r" in an? | as a | by its | by slots", name)[0]
    if asked == "numpy.f2py.diagnose.run":
        assert "numpy.f2py" not in set(sys.modules) - modules, "not even imported"
    assert f"asks for {asked}" in said
    assert "nothing of it was run" in said
    assert not mark.exists()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"\x80\x03cnumpy\nndarray\nK\x01\x85\x81.", "must be a type"),
        (b"\x80\x04cnumpy\nndarray\n)}\x92.", "must be a type"),
        (b"\x80\x02\x82\x07.", "unregistered extension code 7"),
        (b"\x80\x02\x83\x2c\x01.", "unregistered extension code 300"),
        (b"\x80\x02\x84\x07\x00\x00\x00.", "unregistered extension code 7"),
        (b"\x80\x02}K\x01\x85b.", "dict"),
        (b"\x80\x02}N}X\x01\x00\x00\x00aK\x01s\x86b.", "attribute"),
    ],
)
def test_no_step_makes_an_object_or_changes_one(read, content, says):
    assert says in refusal(read, content)


def test_an_element_type_cannot_be_made_to_hold_references(read):
    """Flags in the state of ``numpy.dtype`` would have NumPy follow numbers as pointers."""
    array = pickle.dumps(np.arange(2, dtype="<i8"), 3)
    flagged = array.replace(b"J\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00t", b"J\xff\xff\xff\xffJ\xff\xff\xff\xffK\x3ft")
    assert flagged != array
    found = read(flagged)
    assert found.tolist() == [0, 1]
    assert not found.dtype.hasobject


def test_sets_and_byte_arrays_are_plain_data(read):
    assert read(pickle.dumps({1, "a"}, 4)) == {1, "a"}
    assert read(pickle.dumps(bytearray(b"a"), 5)) == bytearray(b"a")


def test_the_collection_bites(tmp_path):
    """Python's own reader does run what this one refuses."""
    mark = tmp_path / "ran"
    pickle.loads(malicious(mark)["posix.system"])  # noqa: S301 - that is the point
    assert mark.exists()


def test_a_registered_extension_is_refused_too(read):
    copyreg.add_extension("os", "system", 7)
    try:
        assert "asks for os.system" in refusal(read, b"\x80\x02\x82\x07X\x01\x00\x00\x00a\x85R.")
    finally:
        copyreg.remove_extension("os", "system", 7)


ARRAY = pickle.dumps(np.arange(6, dtype="<i8").reshape(2, 3), 3)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", ""),
        (b"not a pickle", ""),
        (pickle.dumps(PLAIN, 3)[:-20], ""),
        (b"\x80\x03.", "stack underflow"),
        (b"\x80\x03(.", "MARK"),
        (b"\x80\x03\x85.", "underflow"),
        (b"\x80\x03h\x05.", "5"),
        (b"\x80\x03K\x01K\x02a.", "append"),
        (b"\x80\x03](K\x01h\x00e.", "0"),
        (b"\x80\x04]\x8c\x01a\x93.", "STACK_GLOBAL requires str"),
        (b"\x80\x03]e.", "could not find MARK"),
        (b"\x80\x03}(K\x01u.", "odd number of items"),
        (b"\x80\x03}]K\x01s.", "unhashable"),
        (b"\x80\x03K\x01K\x02R.", "argument list must be a tuple"),
        (ARRAY.replace(b"K\x02K\x03\x86", b"K\x02K\x04\x86"), "cut short"),
        (ARRAY.replace(b"K\x02K\x03\x86", b"J\xff\xff\xff\xffJ\xfa\xff\xff\xff\x86"), "impossible shape"),
        (ARRAY.replace(b"K\x02K\x03\x86", b"J\xff\xff\xff\x7fJ\xff\xff\xff\x7f\x86"), "cut short"),
        (ARRAY.replace(b"K\x02K\x03\x86", b"K\x02G" + struct.pack(">d", 3.0) + b"\x86"), "impossible shape"),
        (b"\x80\x03X\xff\xff\xff\x7fa.", ""),
        (b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7fa.", ""),
        (b"I" + b"9" * 5000 + b"\n.", ""),
    ],
)
def test_a_damaged_pickle_is_said_to_be_damaged(read, content, says):
    said = refusal(read, content)
    assert said.startswith("not a whole pickle of plain data")
    assert says in said


def test_deep_nesting_and_shared_parts_harm_nobody(read):
    deep = read(b"\x80\x03" + b"]" * 100_000 + b"a" * 99_999 + b".")
    for _ in range(99_999):
        (deep,) = deep
    assert deep == []
    doubled = b"\x80\x03]q\x00" + b"".join(b"](h%ch%ceq%c" % (k, k, k + 1) for k in range(100)) + b"."
    shared = read(doubled)
    for _ in range(100):
        first, second = shared
        assert first is second
        shared = first
    assert shared == []


def test_an_integer_of_fifteen_thousand_digits_is_read_and_not_written_out(read):
    huge = read(pickle.dumps(1 << 50_000, 3))
    assert huge == 1 << 50_000
    assert plain_pickle.show(huge) == plain_pickle.show(-huge) == "an integer of more digits than any"
    assert plain_pickle.show(("01", huge)) == "01/an integer of more digits than any"


def test_a_file_that_is_too_large_or_gone_is_named(read, monkeypatch, tmp_path):
    monkeypatch.setattr(plain_pickle, "MAX_BYTES", 100)
    assert "too large" in refusal(read, pickle.dumps(b"a" * 200))
    with pytest.raises(DatasetError, match=r"gone\.pkl: cannot be read"):
        read_plain_pickle(tmp_path / "gone.pkl")


def test_whatever_is_damaged_there_is_one_kind_of_error(read, rng):
    whole = pickle.dumps([PLAIN, np.arange(3), np.float64(2.5), np.zeros((2, 2), "<f4")], 3)
    outcomes = []
    for _ in range(400):
        harmed = bytearray(whole)
        for place in rng.integers(0, len(harmed), rng.integers(1, 4)):
            harmed[place] = rng.integers(256)
        try:
            read(bytes(harmed))
            outcomes.append("read")
        except DatasetError as error:
            outcomes.append(error.what[:8])
    assert set(outcomes) == {"read", "asks for", "not a wh"}
