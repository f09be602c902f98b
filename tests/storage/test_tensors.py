"""The scan of a prefix's elements, compared with torch on the whole tensor at once."""

import subprocess
import sys
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest
import torch  # noqa: TID251  # the reference for the scan
from hypothesis import given, settings
from hypothesis import strategies as st

import app
from app.domain.artifacts.safetensors_header import HEAD_BYTES, parse
from app.domain.artifacts.sketch import WINDOW_ELEMENTS
from app.storage.tensors import scan
from tests.support.adapters import LLAMA, a_tensor, a_weights_file

DTYPES = [torch.float32, torch.float16, torch.bfloat16]


class Trickle(BytesIO):
    """A file that returns fewer bytes than requested, as a socket may."""

    def read(self, size=-1):
        return super().read(min(size, 1000))


def scanned(tensor, geometry=LLAMA, file_type=BytesIO):
    file = a_weights_file(prompt_embeddings=tensor)
    container, _ = parse(file[:HEAD_BYTES], size_bytes=len(file))
    return scan(file_type(file), container.entries[0], geometry)


def norms(tensor, geometry=LLAMA):
    """Return the norm of each layer's keys and of its values, from the whole tensor."""
    parts = tensor.double().view(len(tensor), geometry.layers, 2, geometry.width)
    squares = parts.square().sum(dim=(0, 3)).sqrt()
    return squares[:, 0].tolist(), squares[:, 1].tolist()


def run_python(code, *arguments):
    """Run code in a separate process, and return its output."""
    command = [sys.executable, "-c", code, *arguments]
    root = Path(app.__file__).parents[1]
    return subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_the_norms_are_those_of_the_whole_tensor(dtype):
    tensor = a_tensor(dtype=dtype)

    found = scanned(tensor)

    keys, values = norms(tensor)
    assert found.key_norms == pytest.approx(keys)
    assert found.value_norms == pytest.approx(values)
    assert found.finite
    assert not found.all_zero


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_tensor_of_many_windows_is_read_completely(dtype):
    # The geometry is chosen so that no window ends at the end of a layer.
    geometry = replace(LLAMA, layers=7, kv_heads=1, head_dim=24)
    rows = 3 * WINDOW_ELEMENTS // geometry.columns + 1
    tensor = torch.randn(rows, geometry.columns).to(dtype)

    found = scanned(tensor, geometry)

    keys, values = norms(tensor, geometry)
    assert found.key_norms == pytest.approx(keys)
    assert found.value_norms == pytest.approx(values)


def test_a_segment_larger_than_a_window_is_read_completely():
    geometry = replace(LLAMA, layers=1, head_dim=65_536, attention_heads=4, kv_heads=4)
    tensor = torch.randn(2, geometry.columns)

    found = scanned(tensor, geometry)

    keys, values = norms(tensor, geometry)
    assert geometry.width > WINDOW_ELEMENTS
    assert (found.key_norms, found.value_norms) == (pytest.approx(keys), pytest.approx(values))


def test_a_file_that_returns_few_bytes_at_a_time_is_read_completely():
    tensor = a_tensor(rows=50)

    assert scanned(tensor, file_type=Trickle) == scanned(tensor)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize(
    ("row", "column", "layer"),
    [(0, 0, 0), (2, 127, 3), (1, 31, 0), (1, 32, 1), (1999, 64, 2)],
)
def test_one_element_that_is_not_finite_is_found_where_it_is(dtype, value, row, column, layer):
    tensor = torch.ones(2000, LLAMA.columns, dtype=dtype)
    tensor[row, column] = value

    found = scanned(tensor)

    assert (found.finite, found.non_finite) == (False, 1)
    assert found.first_non_finite == (row, layer)


def test_all_elements_that_are_not_finite_are_counted_and_the_first_is_named():
    tensor = torch.ones(2000, LLAMA.columns)
    tensor[7, 40:50] = float("nan")
    tensor[1500, 3] = float("inf")

    found = scanned(tensor)

    assert (found.non_finite, found.first_non_finite) == (11, (7, 1))


@settings(deadline=None)
@given(st.floats(width=16, allow_nan=False, allow_infinity=False), st.integers(0, 383))
def test_a_tensor_is_all_zero_only_if_each_element_is(value, position):
    tensor = torch.zeros(3, LLAMA.columns)
    tensor.view(-1)[position] = value

    assert scanned(tensor).all_zero == (value == 0)


@pytest.mark.parametrize(
    "value", [torch.finfo(torch.float32).max, torch.finfo(torch.float32).smallest_normal / 2**23]
)
def test_the_largest_and_the_smallest_float_are_neither_infinite_nor_zero(value):
    tensor = torch.full((3, LLAMA.columns), value)

    found = scanned(tensor)

    assert (found.finite, found.all_zero) == (True, False)
    assert found.key_norms[0] == pytest.approx(value * 48**0.5)


def test_a_dead_layer_shows_in_its_norms():
    tensor = torch.ones(3, LLAMA.columns)
    tensor[:, 32:48] = 0

    found = scanned(tensor)

    assert [norm > 0 for norm in found.key_norms] == [True, False, True, True]
    assert all(norm > 0 for norm in found.value_norms)


def test_a_file_that_ends_early_is_an_error():
    file = a_weights_file()
    container, _ = parse(file, size_bytes=len(file))

    with pytest.raises(EOFError, match="ends before its tensor"):
        scan(BytesIO(file[:-1]), container.entries[0], LLAMA)


def test_the_module_that_scans_loads_without_torch():
    code = "import sys, app.storage.artifacts; sys.exit('torch' in sys.modules)"

    run_python(code)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_scan_of_64_mib_holds_less_than_16_mib_more(tmp_path):
    path = tmp_path / "weights"
    path.write_bytes(a_weights_file(prompt_embeddings=torch.ones(8192, 2048)))

    rise_kib = run_python(MEASURE, str(path))

    assert int(rise_kib) < 16 * 1024


# Prints by how many KiB the peak of the process's memory rises. The first scan, of one row, loads
# everything that a scan needs; then the peak is reset, and the second scan reads the whole file.
MEASURE = """
import re, sys
from dataclasses import replace
from pathlib import Path
from app.domain.artifacts.geometry import Geometry
from app.domain.artifacts.safetensors_header import parse
from app.storage.tensors import scan

def peak_kib():
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

geometry = Geometry("llama", 64, 1, 1, 16, 16)
path = Path(sys.argv[1])
with path.open("rb") as file:
    whole, = parse(file.read(1000), size_bytes=path.stat().st_size)[0].entries
    scan(file, replace(whole, shape=(1, 2048), end=whole.start + 8192), geometry)
    Path("/proc/self/clear_refs").write_text("5")
    before = peak_kib()
    assert scan(file, whole, geometry).finite
    print(peak_kib() - before)
"""
