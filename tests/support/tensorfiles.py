"""Tensor files that must be refused, each with its fault codes."""

import json
import struct
import zipfile
from io import BytesIO

import numpy as np
import torch  # noqa: TID251  # writes the formats that users rename

from app.domain.artifacts.safetensors_header import HEAD_BYTES, HEADER_LIMIT_BYTES, parse
from app.domain.strict_json import DEPTH_LIMIT
from tests.support.adapters import a_raw_file, a_weights_file, an_entry


def parsed(file):
    return parse(file[:HEAD_BYTES], size_bytes=len(file))


def a_text(text):
    """Return a file with this header and one float as data."""
    return a_raw_file(text.encode(), bytes(4))


def pickled():
    stream = BytesIO()
    torch.save({"prompt_embeddings": torch.ones(1)}, stream, _use_new_zipfile_serialization=False)
    return stream.getvalue()


def zipped_pickle():
    stream = BytesIO()
    torch.save({"prompt_embeddings": torch.ones(1)}, stream)
    return stream.getvalue()


def npz():
    stream = BytesIO()
    np.savez(stream, prompt_embeddings=np.ones(1))
    return stream.getvalue()


def zipped():
    stream = BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("model.txt", "weights")
    return stream.getvalue()


ONE = {"a": an_entry()}
INNER = json.dumps(an_entry())
DEEP = "[" * (DEPTH_LIMIT + 1) + "]" * (DEPTH_LIMIT + 1)

# Files that safetensors refuses too.
BAD = {
    "empty-file": (b"", ["container-empty"]),
    "shorter-than-a-length": (b"\x08\x00", ["container-truncated"]),
    "header-empty": (a_raw_file(b""), ["container-header-length"]),
    "header-longer-than-the-file": (struct.pack("<Q", 999) + b"{}", ["container-truncated"]),
    "header-of-2-to-the-63": (struct.pack("<Q", 2**63) + b"{}", ["container-header-length"]),
    "header-over-100-mb": (struct.pack("<Q", 100_000_001) + b"{}", ["container-header-length"]),
    "not-utf-8": (a_raw_file(b'{"\xff":1}'), ["container-encoding"]),
    "utf-16": (a_raw_file(json.dumps(ONE).encode("utf-16"), bytes(4)), ["container-encoding"]),
    "utf-16-without-mark": (
        a_raw_file(json.dumps(ONE).encode("utf-16-le"), bytes(4)),
        ["container-json"],
    ),
    "byte-order-mark": (a_text("\ufeff" + json.dumps(ONE)), ["container-encoding"]),
    "not-json": (a_text("{'a':1}"), ["container-json"]),
    "cut-off-json": (a_text('{"a":{'), ["container-json"]),
    "unterminated-string": (a_text('{"a'), ["container-json"]),
    "not-an-object": (a_text("[1]"), ["container-not-an-object"]),
    "deep-nesting": (a_text("[" * 200 + "]" * 200), ["container-nesting"]),
    "endless-nesting": (a_text('{"a":' * 150_000), ["container-nesting"]),
    "lone-surrogate": (a_text('{"\\ud800":' + INNER + "}"), ["container-encoding"]),
    "nan": (a_text('{"a":{"dtype":NaN}}'), ["container-number"]),
    "infinity": (a_text('{"a":{"dtype":-Infinity}}'), ["container-number"]),
    "a-number-beyond-floats": (a_text('{"a":1e999}'), ["container-number"]),
    "a-number-of-5000-digits": (a_text('{"a":%s}' % ("9" * 5000)), ["container-number"]),
    "minus-zero": (
        a_text('{"a":{"dtype":"F32","shape":[-0],"data_offsets":[0,4]}}'),
        ["container-number"],
    ),
    "metadata-not-an-object": (
        a_raw_file({"__metadata__": ["pt"]} | ONE, bytes(4)),
        ["container-metadata"],
    ),
    "metadata-not-strings": (
        a_raw_file({"__metadata__": {"format": 1}} | ONE, bytes(4)),
        ["container-metadata"],
    ),
    "entry-not-an-object": (a_raw_file({"a": 1}), ["container-entry"]),
    "entry-without-a-key": (a_raw_file({"a": {"dtype": "F32", "shape": []}}), ["container-entry"]),
    "unknown-dtype": (a_raw_file({"a": an_entry(dtype="C128")}, bytes(4)), ["container-dtype"]),
    "lower-case-dtype": (a_raw_file({"a": an_entry(dtype="f32")}, bytes(4)), ["container-dtype"]),
    "dtype-not-a-string": (a_raw_file({"a": an_entry(dtype=32)}, bytes(4)), ["container-dtype"]),
    "shape-not-a-list": (a_raw_file({"a": an_entry(shape=1)}, bytes(4)), ["container-shape"]),
    "negative-dimension": (a_raw_file({"a": an_entry(shape=[-1])}, bytes(4)), ["container-shape"]),
    "fractional-dimension": (
        a_raw_file({"a": an_entry(shape=[1.0])}, bytes(4)),
        ["container-shape"],
    ),
    "bool-dimension": (a_raw_file({"a": an_entry(shape=[True])}, bytes(4)), ["container-shape"]),
    "overflowing-shape": (
        a_raw_file({"a": an_entry(shape=[2**40, 2**40])}, bytes(4)),
        ["container-shape"],
    ),
    "overflow-before-a-zero": (
        a_raw_file({"a": an_entry(shape=[2**40, 2**40, 0], data_offsets=[0, 0])}),
        ["container-shape"],
    ),
    "dimension-beyond-64-bits": (
        a_raw_file({"a": an_entry(shape=[0, 2**64], data_offsets=[0, 0])}),
        ["container-shape"],
    ),
    "offsets-not-a-list": (
        a_raw_file({"a": an_entry(data_offsets={})}, bytes(4)),
        ["container-offsets"],
    ),
    "three-offsets": (
        a_raw_file({"a": an_entry(data_offsets=[0, 4, 4])}, bytes(4)),
        ["container-offsets"],
    ),
    "reversed-offsets": (
        a_raw_file({"a": an_entry(data_offsets=[4, 0])}, bytes(4)),
        ["container-offsets"],
    ),
    "bool-offset": (
        a_raw_file({"a": an_entry(data_offsets=[False, 4])}, bytes(4)),
        ["container-offsets"],
    ),
    "size-is-not-dtype-times-shape": (
        a_raw_file({"a": an_entry(shape=[2])}, bytes(4)),
        ["container-size"],
    ),
    "half-a-byte": (
        a_raw_file({"a": an_entry(dtype="F4", data_offsets=[0, 1])}, bytes(1)),
        ["container-size"],
    ),
    "hole-before": (
        a_raw_file({"a": an_entry(data_offsets=[4, 8])}, bytes(8)),
        ["container-gap"],
    ),
    "hole-between": (
        a_raw_file(ONE | {"b": an_entry(data_offsets=[8, 12])}, bytes(12)),
        ["container-gap"],
    ),
    "same-bytes-twice": (a_raw_file(ONE | {"b": an_entry()}, bytes(4)), ["container-overlap"]),
    "overlap": (
        a_raw_file(ONE | {"b": an_entry(data_offsets=[2, 6])}, bytes(6)),
        ["container-overlap"],
    ),
    "beyond-the-end": (a_raw_file(ONE, bytes(3)), ["container-truncated"]),
    "far-beyond-the-end": (
        a_raw_file({"a": an_entry(data_offsets=[2**62, 2**62 + 4])}, bytes(4)),
        ["container-gap", "container-truncated"],
    ),
    "trailing-bytes": (a_raw_file(ONE, bytes(5)), ["container-trailing-bytes"]),
    "bytes-of-no-tensor": (a_raw_file(b"{}", bytes(5)), ["container-trailing-bytes"]),
    "truncated-upload": (a_weights_file()[:-1], ["container-truncated"]),
    "truncated-in-the-header": (a_weights_file()[:20], ["container-truncated"]),
    "pickle": (pickled(), ["container-other-format"]),
    "pytorch-bin": (zipped_pickle(), ["container-other-format"]),
    "npz": (npz(), ["container-other-format"]),
    "zip": (zipped(), ["container-other-format"]),
    "html": (b"<!DOCTYPE html><title>Log in</title>", ["container-other-format"]),
    "json": (b'{"error": "not found"}', ["container-other-format"]),
    "git-lfs-pointer": (
        b"version https://git-lfs.github.com/spec/v1\n",
        ["container-other-format"],
    ),
    "text": (b"Not found: no such file", ["container-header-length"]),
}

# Files that safetensors accepts; the docstring of safetensors_header says why we do not.
STRICTER = {
    "header-over-1-mib": (
        a_text(json.dumps(ONE) + " " * HEADER_LIMIT_BYTES),
        ["container-header-length"],
    ),
    "megabytes-of-metadata": (
        a_raw_file({"__metadata__": {"a": "b" * 10_000_000}} | ONE, bytes(4)),
        ["container-header-length"],
    ),
    "null-metadata": (
        a_raw_file({"__metadata__": None} | ONE, bytes(4)),
        ["container-metadata"],
    ),
    "duplicate-name": (a_text(f'{{"a":{INNER},"a":{INNER}}}'), ["container-duplicate-key"]),
    "duplicate-metadata": (
        a_text('{"__metadata__":{"a":"1","a":"2"},"a":' + INNER + "}"),
        ["container-duplicate-key"],
    ),
    "leading-space": (a_text(" " + json.dumps(ONE)), ["container-header-start"]),
    "unknown-inner-key": (a_raw_file({"a": an_entry(b=1)}, bytes(4)), ["container-entry"]),
    "nesting-in-an-ignored-key": (
        a_text(f'{{"a":{INNER[:-1]},"b":{DEEP}}}}}'),
        ["container-nesting"],
    ),
    "entry-as-a-list": (a_raw_file({"a": ["F32", [1], [0, 4]]}, bytes(4)), ["container-entry"]),
}
