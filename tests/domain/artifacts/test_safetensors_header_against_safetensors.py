"""The container parser against the safetensors library: never laxer, never different."""

import math

import pytest
import safetensors
import torch  # noqa: TID251  # safetensors writes its tensors
from hypothesis import event, given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError
from safetensors.torch import save

from tests.support.adapters import a_raw_file
from tests.support.tensorfiles import BAD, STRICTER, parsed


@pytest.mark.parametrize("file", [file for file, _ in BAD.values()], ids=BAD)
def test_the_library_refuses_the_same_bad_files(file):
    with pytest.raises(SafetensorError):
        safetensors.deserialize(file)


@pytest.mark.parametrize("file", [file for file, _ in STRICTER.values()], ids=STRICTER)
def test_the_library_accepts_the_files_that_only_the_registry_refuses(file):
    assert [name for name, _ in safetensors.deserialize(file)] == ["a"]


SHAPES = st.lists(st.integers(0, 3), max_size=3)
ITEM_BYTES = {"F64": 8, "F32": 4, "BF16": 2, "F16": 2, "BOOL": 1, "F8_E4M3": 1}
ODD = st.sampled_from(
    [-1, 0, 1, 4, 1.0, 2**31, 2**63, 2**64, True, None, "1", "F4", "f32", [], [0], [0, 4], [-1, 0]]
)
KEYS = st.sampled_from(["dtype", "shape", "data_offsets", "more"])
EDITS = st.tuples(st.integers(0, 99), st.integers(0, 2), st.binary(max_size=2))


@st.composite
def nearly_right_files(draw):
    """Valid files with at most one changed value of the header and two changed byte ranges."""
    header, end = {}, 0
    for name in draw(st.lists(st.sampled_from("abé\x00"), max_size=3, unique=True)):
        dtype, shape = draw(st.sampled_from(sorted(ITEM_BYTES))), draw(SHAPES)
        start, end = end, end + math.prod(shape) * ITEM_BYTES[dtype]
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}
    if header and draw(st.booleans()):
        header[draw(st.sampled_from(sorted(header)))][draw(KEYS)] = draw(ODD)
    file = a_raw_file(header, bytes(end))
    for position, removed, inserted in draw(st.lists(EDITS, max_size=2)):
        file = file[:position] + inserted + file[position + removed :]
    return file


@settings(max_examples=1000, deadline=None)
@given(nearly_right_files())
def test_the_library_reads_accepted_files_in_the_same_way(file):
    result, faults = parsed(file)

    event("refused" if faults else "accepted")
    if not faults:
        assert ours(result, file) == theirs(file)


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=9)
TENSORS = st.builds(
    torch.ones,
    SHAPES,
    dtype=st.sampled_from([torch.float32, torch.bfloat16, torch.bool, torch.int64]),
)


# Without any tensor the library writes a header that is not JSON, and cannot read it either.
@given(
    st.dictionaries(TEXTS, TENSORS, min_size=1, max_size=3),
    st.dictionaries(TEXTS, TEXTS, max_size=2),
)
def test_files_that_the_library_writes_are_read_in_the_same_way(tensors, metadata):
    file = save(tensors, metadata)

    result, faults = parsed(file)

    assert faults == ()
    assert ours(result, file) == theirs(file)
    assert result.metadata == metadata


def ours(result, file):
    return {
        entry.name: (entry.dtype, list(entry.shape), file[entry.start : entry.end])
        for entry in result.entries
    }


def theirs(file):
    return {
        name: (value["dtype"], value["shape"], bytes(value["data"]))
        for name, value in safetensors.deserialize(file)
    }
