"""The embeddings of one sample in Apple's two layouts, `npz` and `pth.gz`; code is never loaded.

`npz` is what webdataset writes (`np.savez_compressed`), `pth.gz` a gzipped `torch.save` of a
dictionary of bfloat16 tensors (ml-mobileclip-dr, `src/raygen/datasetio.py`).
"""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
import zlib

import numpy as np
import torch

from zoo.reinforced_data.sidecars.embedding_storage import Storage

UNPACKED_BYTES = 1 << 26
"""More than a sample unpacks to (30 augmentations and 6 texts of 1536 float32: 221 kB)."""

READING_ERRORS = (
    ValueError,
    OSError,
    EOFError,
    KeyError,
    IndexError,
    TypeError,
    AttributeError,
    RuntimeError,  # RecursionError and NotImplementedError too
    OverflowError,
    MemoryError,
    struct.error,
    zlib.error,
    zipfile.BadZipFile,
    pickle.UnpicklingError,
)
"""What numpy, zipfile and torch raise for damaged or foreign bytes."""

_STORAGES: dict[np.dtype, Storage] = {
    np.dtype(np.float16): "fp16",
    np.dtype(np.float32): "fp32",
}


def read_npz(data: bytes) -> tuple[dict[str, np.ndarray], Storage]:
    """Return the arrays named `…emb…` as float32, and the number format that they were stored in.

    Raises one of `READING_ERRORS`.
    """
    content = np.load(io.BytesIO(data), allow_pickle=False)
    if not isinstance(content, np.lib.npyio.NpzFile):
        raise ValueError("a single array, not an archive of arrays")
    with content:
        _check_size(sum(entry.file_size for entry in content.zip.infolist()))
        arrays = {name: content[name] for name in content.files if "emb" in name}
    storage = _STORAGES.get(next((a.dtype for a in arrays.values()), np.dtype(np.float32)), "fp32")
    return {name: array.astype(np.float32, copy=False) for name, array in arrays.items()}, storage


def read_pth_gz(data: bytes) -> tuple[dict[str, np.ndarray], Storage]:
    """Return the tensors named `…emb…` as float32, and the number format that they were stored in.

    Raises one of `READING_ERRORS`, also for a pickle that holds anything but plain tensors.
    """
    content = torch.load(io.BytesIO(_gunzip(data)), map_location="cpu", weights_only=True)
    if not isinstance(content, dict):
        raise ValueError(f"a {type(content).__name__}, not a dictionary of tensors")
    tensors = {name: torch.as_tensor(content[name]) for name in content if "emb" in name}
    # A stride of 0 makes a tensor of any size out of one number.
    _check_size(sum(4 * tensor.numel() for tensor in tensors.values()))
    bf16 = any(tensor.dtype == torch.bfloat16 for tensor in tensors.values())
    return {
        name: tensor.detach().float().numpy() for name, tensor in tensors.items()
    }, "bf16" if bf16 else "fp32"


def _gunzip(data: bytes) -> bytes:
    unpacker = zlib.decompressobj(zlib.MAX_WBITS | 16)
    unpacked = unpacker.decompress(data, UNPACKED_BYTES)
    _check_size(len(unpacked) + len(unpacker.unconsumed_tail))
    if not unpacker.eof:
        raise ValueError("truncated gzip data")
    return unpacked


def _check_size(size: int) -> None:
    if size > UNPACKED_BYTES:
        raise ValueError(f"more than {UNPACKED_BYTES} bytes when unpacked")
