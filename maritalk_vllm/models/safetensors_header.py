"""Read and check the header of a safetensors file: its tensors, and whether the file is complete.

The package `safetensors` also reads headers, but imports numpy, which alone takes as long as a plan.
Format: https://huggingface.co/docs/safetensors, version 0.8: eight bytes of length, JSON, then the tensors.
"""

import math
import stat
from pathlib import Path

import msgspec

from ..errors import WeightsError
from ..i18n.message import Number, msg

# The limit of the format.
_MAX_HEADER_BYTES = 100_000_000
_HINT = "Copy or download it again."


class Tensor(msgspec.Struct, frozen=True):
    """One tensor: its dtype in the format's notation (`BF16`), its shape, and the offsets of its bytes."""

    dtype: str
    shape: tuple[int, ...]
    data_offsets: tuple[int, int]

    @property
    def elements(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        """Bytes in the file."""
        return self.data_offsets[1] - self.data_offsets[0]


_DECODER = msgspec.json.Decoder(dict[str, msgspec.Raw])
_TENSOR = msgspec.json.Decoder(Tensor)


def read_header(file: Path) -> dict[str, Tensor]:
    """Read the tensors of a file by name. Raises WeightsError, which names the file, if it is damaged or truncated."""
    try:
        status = file.stat()
        if not stat.S_ISREG(status.st_mode):
            raise WeightsError(msg("The weights file {file} is not a regular file.", file=file), _HINT)
        size = status.st_size
        with file.open("rb") as content:
            length = int.from_bytes(content.read(8), "little")
            if size < 8 or length > min(size - 8, _MAX_HEADER_BYTES):
                raise WeightsError(
                    msg(
                        "The weights file {file} is damaged or cut off: its {number} bytes hold no whole header.",
                        file=file,
                        number=Number(size),
                    ),
                    _HINT,
                )
            header = content.read(length)
    except OSError as error:
        raise WeightsError(
            msg("The weights file {file} cannot be read: {reason}.", file=file, reason=error.strerror)
        ) from error
    try:
        raw = _DECODER.decode(header)
        raw.pop("__metadata__", None)
        tensors = {name: _TENSOR.decode(value) for name, value in raw.items()}
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise WeightsError(
            msg("The weights file {file} is damaged: its header cannot be read ({error}).", file=file, error=error),
            _HINT,
        ) from error
    expected_size = 8 + length + max((tensor.data_offsets[1] for tensor in tensors.values()), default=0)
    if size != expected_size:
        what = "cut off" if size < expected_size else "damaged"
        raise WeightsError(
            msg(
                "The weights file {file} is {kind}: its header promises {promised} bytes and it has {number}.",
                file=file,
                kind=what,
                promised=Number(expected_size),
                number=Number(size),
            ),
            _HINT,
        )
    for name, tensor in tensors.items():
        if (
            tensor.bytes < 0
            or min(tensor.shape, default=0) < 0
            or ((bits := _BITS.get(tensor.dtype)) and tensor.elements * bits != tensor.bytes * 8)
        ):
            raise WeightsError(
                msg(
                    "The weights file {file} is damaged: its tensor {name} has {bytes} bytes, which is not the size of "
                    "{dtype} {list}.",
                    file=file,
                    name=name,
                    bytes=Number(tensor.bytes),
                    dtype=tensor.dtype,
                    list=list(tensor.shape),
                ),
                _HINT,
            )
    return tensors


_BITS = {"F64": 64, "F32": 32, "F16": 16, "BF16": 16, "F8_E4M3": 8, "F8_E5M2": 8, "I64": 64, "I32": 32, "I16": 16}
_BITS |= {"I8": 8, "U8": 8, "BOOL": 8, "U16": 16, "U32": 32, "U64": 64}
