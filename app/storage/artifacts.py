"""Inspection of an uploaded prefix: first its header, then its elements if the header is valid."""

import os
from dataclasses import dataclass
from typing import BinaryIO

from app.domain.artifacts.adapter_config import AdapterConfig, parse_config
from app.domain.artifacts.content import TensorContent, tensor_content
from app.domain.artifacts.geometry import Geometry
from app.domain.artifacts.prefix import (
    PrefixProperties,
    TensorScan,
    check_prefix,
    content_faults,
    scannable,
)
from app.domain.artifacts.safetensors_header import HEAD_BYTES, TensorFile, parse
from app.domain.errors import Fault
from app.storage.tensors import scan


@dataclass(frozen=True, slots=True)
class Inspection:
    """The properties of a prefix, or all its faults: `properties` is None if there are `faults`.

    `scan` and `tensors` are present whenever the elements could be read, `config` whenever it
    could be parsed.
    """

    properties: PrefixProperties | None
    config: AdapterConfig | None
    scan: TensorScan | None
    tensors: tuple[TensorContent, ...]
    faults: tuple[Fault, ...]


def inspect(
    config: bytes, weights: BinaryIO, *, geometry: Geometry, base_parameters: int
) -> Inspection:
    """Return the inspection of two uploaded files for a base model.

    Reading them never executes code from them, and memory use does not grow with their size.

    Args:
        config: The bytes of `adapter_config.json`.
        weights: A seekable file, `adapter_model.safetensors`.
        geometry: The base model's dimensions.
        base_parameters: The number of parameters of the base model.
    """
    settings, config_faults = parse_config(config)
    file, container_faults = _read_header(weights)
    properties, prefix_faults = check_prefix(
        settings, file, geometry=geometry, base_parameters=base_parameters
    )
    # The offsets in a faulty container cannot be trusted.
    entry = scannable(file, geometry) if file and not container_faults else None
    found = scan(weights, entry, geometry) if entry else None
    faults = (
        *config_faults,
        *container_faults,
        *prefix_faults,
        *(content_faults(found) if found else ()),
    )
    tensors = (tensor_content(entry, found),) if entry and found else ()
    return Inspection(None if faults else properties, settings, found, tensors, faults)


def _read_header(weights: BinaryIO) -> tuple[TensorFile | None, tuple[Fault, ...]]:
    weights.seek(0, os.SEEK_END)
    size_bytes = weights.tell()
    weights.seek(0)
    return parse(weights.read(HEAD_BYTES), size_bytes=size_bytes)
