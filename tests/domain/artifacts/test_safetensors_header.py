"""The safetensors container: the files that are refused, and the messages of refusals."""

import json

import pytest

from app.domain.artifacts.safetensors_header import TensorEntry, parse
from tests.support.adapters import LLAMA, TOKENS, a_raw_file, a_weights_file, an_entry
from tests.support.tensorfiles import (
    BAD,
    ONE,
    STRICTER,
    a_text,
    npz,
    parsed,
    pickled,
    zipped,
    zipped_pickle,
)


def codes(file):
    _, faults = parsed(file)
    return [fault.code for fault in faults]


def message(file):
    _, (fault,) = parsed(file)
    return fault.message


@pytest.mark.parametrize(("file", "expected"), BAD.values(), ids=BAD)
def test_a_bad_file_is_refused_with_every_fault(file, expected):
    assert codes(file) == expected


@pytest.mark.parametrize(("file", "expected"), STRICTER.values(), ids=STRICTER)
def test_a_file_that_readers_could_read_differently_is_refused(file, expected):
    assert codes(file) == expected


def test_a_file_of_peft_is_read_without_its_data():
    file = a_weights_file()
    head = file[:200]

    result, faults = parse(head, size_bytes=len(file))

    size = TOKENS * LLAMA.columns * 4
    entry = TensorEntry(
        "prompt_embeddings", "F32", (TOKENS, LLAMA.columns), len(file) - size, len(file)
    )
    assert (result.entries, faults) == ((entry,), ())
    assert result.metadata == {"format": "pt"}
    assert entry.size_bytes == size


def test_independent_faults_are_reported_together():
    header = json.dumps(
        {
            "__metadata__": 1,
            "a": an_entry(data_offsets=[2, 6]),
            "b": an_entry(data_offsets=[4, 8]),
        }
    )

    file = a_text(" " + header)

    assert codes(file) == [
        "container-header-start",
        "container-metadata",
        "container-gap",
        "container-overlap",
        "container-truncated",
    ]


def test_faulty_entries_are_named_up_to_a_limit():
    file = a_raw_file({f"layer.{number}": an_entry(dtype="X") for number in range(500)})

    result, faults = parsed(file)

    assert result is None
    assert len(faults) == 11
    assert '"layer.9"' in faults[9].message
    assert faults[10].message == "490 more entries are refused for the same reason."


@pytest.mark.parametrize(
    ("file", "words"),
    [
        pytest.param(pickled(), "pickle, which runs code", id="pickle"),
        pytest.param(zipped_pickle(), "PyTorch archive", id="pytorch-bin"),
        pytest.param(npz(), "NumPy .npz", id="npz"),
        pytest.param(zipped(), "ZIP archive", id="zip"),
        pytest.param(b"\n\n<html><body>Log in", "web page", id="html"),
        pytest.param(b'{"error": "not found"}', "JSON text", id="json"),
        pytest.param(b"GGUF\x03\x00\x00\x00" + b"\x01" * 9, "GGUF", id="gguf"),
    ],
)
def test_the_refusal_of_a_file_names_its_format(file, words):
    assert words in message(file)


def test_a_valid_header_length_is_never_taken_for_a_pickle():
    file = a_raw_file(json.dumps(ONE).encode().ljust(640), bytes(4))

    assert file.startswith(b"\x80\x02")
    assert codes(file) == []
    assert codes(file[:300]) == ["container-truncated"]


def test_an_untrusted_name_is_shown_short_and_in_ascii():
    file = a_raw_file({"\u202eevil\x00" + "x" * 1000: an_entry(dtype="X")})

    text = message(file)

    assert text.isascii()
    assert text.isprintable()
    assert len(text) < 200


@pytest.mark.parametrize(
    "header",
    [
        pytest.param('{"a":"' + '\\"' * 500_000, id="unterminated-string-of-quotes"),
        pytest.param('"' * 1_000_000, id="quotes"),
        pytest.param("{" + ",".join(f'"{n}":[]' for n in range(80_000)) + "}", id="many-keys"),
        pytest.param('{"a":{"shape":[' + "1," * 500_000 + "1]}}", id="many-dimensions"),
    ],
)
def test_the_largest_hostile_header_is_read_in_linear_time(header):
    assert codes(a_text(header)) != []


BITS = {
    4: ["F4"],
    6: ["F6_E2M3", "F6_E3M2"],
    8: ["BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"],
    16: ["I16", "U16", "F16", "BF16"],
    32: ["I32", "U32", "F32"],
    64: ["I64", "U64", "F64", "C64"],
}


@pytest.mark.parametrize(("bits", "name"), [(bits, n) for bits, of in BITS.items() for n in of])
def test_eight_elements_of_a_type_take_as_many_bytes_as_one_has_bits(bits, name):
    entry = an_entry(dtype=name, shape=[8], data_offsets=[0, bits])
    short = an_entry(dtype=name, shape=[8], data_offsets=[0, bits - 1])
    assert codes(a_raw_file({"a": entry}, bytes(bits))) == []
    assert codes(a_raw_file({"a": short}, bytes(bits - 1))) != []
