"""The sketch that a scan makes, and the distances that follow from it, compared with exact ones."""

from dataclasses import replace
from io import BytesIO

import pytest
import torch  # noqa: TID251  # the reference for the scan

from app.domain.artifacts import sketch
from app.domain.artifacts.near_copies import (
    SLACK,
    STANDARD_ERROR,
    are_near,
    content_sketch,
    relative_distance,
)
from app.domain.artifacts.safetensors_header import HEAD_BYTES, parse
from app.storage.tensors import scan
from tests.support.adapters import LLAMA, a_weights_file

TOKENS = 30
GEOMETRY = replace(LLAMA, layers=8, kv_heads=4, head_dim=64)


def scanned(tensor, geometry=GEOMETRY):
    file = a_weights_file(prompt_embeddings=tensor)
    container, _ = parse(file[:HEAD_BYTES], size_bytes=len(file))
    return scan(BytesIO(file), container.entries[0], geometry)


def by_formula(tensor, width):
    """Return the sketch by the published formula, element by element."""
    elements = tensor.double().flatten().tolist()
    window = sketch.segments_per_window(width) * width
    negated = sketch.element_bytes(window)
    groups = sketch.window_bytes(-(-len(elements) // window))
    buckets = [0.0] * sketch.BUCKETS
    choices = {group % 64: sketch.column_bytes(group % 64) for group in groups}
    for index, element in enumerate(elements):
        number, position = divmod(index, window)
        group = groups[number]
        column = choices[group % 64][position % sketch.COLUMNS]
        negative = (negated[position] & 1) + (group >> 6 & 1) + (column >> 6 & 1)
        buckets[column % 64] += -element if negative % 2 else element
    return buckets


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("scale", [1.0, 1e-30, 1e30])
def test_the_sketch_is_that_of_the_formula(dtype, scale):
    torch.manual_seed(1)
    factor = 1.0 if dtype is torch.float16 else scale
    tensor = (torch.randn(TOKENS, GEOMETRY.columns) * factor).to(dtype)

    found = scanned(tensor)

    assert tensor.numel() > 3 * sketch.WINDOW_ELEMENTS
    tolerance = 1e-6 * float(tensor.double().norm())
    assert found.sketch == pytest.approx(by_formula(tensor, GEOMETRY.width), abs=tolerance)


def test_the_sketch_of_a_segment_larger_than_a_window_is_that_of_the_formula():
    geometry = replace(LLAMA, layers=1, head_dim=16_384, attention_heads=4, kv_heads=4)
    torch.manual_seed(2)
    tensor = torch.randn(1, geometry.columns)

    tolerance = 1e-6 * float(tensor.double().norm())
    expected = by_formula(tensor, geometry.width)
    assert scanned(tensor, geometry).sketch == pytest.approx(expected, abs=tolerance)


def test_a_tensor_whose_magnitudes_change_is_sketched_as_a_whole():
    torch.manual_seed(3)
    tensor = torch.randn(600, GEOMETRY.columns)
    tensor[:300] *= 1e-25

    found = scanned(tensor).sketch

    assert found == pytest.approx(by_formula(tensor, GEOMETRY.width), abs=1e-6 * 1800)


# Distances


def trained(seed=0):
    torch.manual_seed(seed)
    return torch.randn(TOKENS, GEOMETRY.columns)


def noisy(tensor, share, seed=9):
    torch.manual_seed(seed)
    return tensor + share * torch.randn_like(tensor)


def flipped(tensor):
    changed = tensor.clone()
    changed.view(torch.int32)[7, 11] ^= 1 << 20
    return changed


def shifted_channel(tensor):
    changed = tensor.clone()
    changed[:, 5 :: GEOMETRY.head_dim] += 0.05
    return changed


CHANGES = {
    "one bit": flipped,
    "scaled": lambda tensor: tensor * 1.001,
    "noise of 0.1 %": lambda tensor: noisy(tensor, 0.001),
    "noise of 1 %": lambda tensor: noisy(tensor, 0.01),
    "noise of 5 %": lambda tensor: noisy(tensor, 0.05),
    "one token": lambda tensor: torch.cat([tensor[:-1], 1.02 * tensor[-1:]]),
    "one channel": shifted_channel,
    "offset": lambda tensor: tensor + 0.004,
    "permuted tokens": lambda tensor: tensor.flip(0),
    "retrained": lambda _: trained(seed=1),
}


def distances(one, other):
    """Return the exact relative distance, the estimate, and both sketches."""
    larger = max(float(one.double().norm()), float(other.double().norm()))
    exact = float((one.double() - other.double()).norm()) / larger
    a, b = (content_sketch(scanned(each), TOKENS) for each in (one, other))
    return exact, relative_distance(a, b), a, b


@pytest.mark.parametrize("change", CHANGES)
def test_an_estimate_is_near_the_exact_distance(change):
    exact, estimated, a, b = distances(trained(), CHANGES[change](trained()))

    assert estimated == pytest.approx(exact, rel=4 * STANDARD_ERROR, abs=1e-7)
    assert are_near(a, b, exact * (1 + 1e-3) + 1e-7)
    assert not are_near(a, b, exact / (SLACK * 1.5))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_a_copy_in_another_element_type_is_near(dtype):
    exact, estimated, a, b = distances(trained(), trained().to(dtype))

    assert 0 < exact < 0.003
    assert estimated == pytest.approx(exact, rel=4 * STANDARD_ERROR)
    assert are_near(a, b, 0.01)
