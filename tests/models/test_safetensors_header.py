"""A damaged or truncated weights file is detected by its header, and named."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from maritalk_vllm.errors import WeightsError
from maritalk_vllm.models.safetensors_header import Tensor, read_header
from tests.models.files import safetensors

TENSORS = {"a.weight": ("BF16", [4, 8]), "b.bias": ("F32", [3])}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return safetensors(tmp_path / "model.safetensors", TENSORS)


def test_tensors_of_a_header(file: Path) -> None:
    found = read_header(file)
    assert found == {"a.weight": Tensor("BF16", (4, 8), (0, 64)), "b.bias": Tensor("F32", (3,), (64, 76))}
    assert (found["a.weight"].elements, found["a.weight"].bytes) == (32, 64)


def test_a_file_without_tensors(tmp_path: Path) -> None:
    assert read_header(safetensors(tmp_path / "empty.safetensors", {})) == {}


def changed_header(content: bytes, change: Callable[[dict[str, dict[str, object]]], object]) -> bytes:
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    change(header)
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + content[8 + length :]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda content: b"", "hold no whole header"),
        (lambda content: content[:5], "hold no whole header"),
        (lambda content: content[:60], "hold no whole header"),
        (lambda content: b"\xff" * 64, "hold no whole header"),
        (lambda content: content[:-1], "is cut off: its header promises"),
        (lambda content: content[:-70], "is cut off: its header promises"),
        (lambda content: content + b"\0", "is damaged: its header promises"),
        (lambda content: content[:8] + b"x" * (len(content) - 8), "header cannot be read"),
        (lambda content: content[:8] + b"\xff" + content[9:], "header cannot be read"),
        (
            lambda content: changed_header(content, lambda h: h["b.bias"].update(shape=[4])),
            "tensor b.bias has 12 bytes",
        ),
        (lambda content: changed_header(content, lambda h: h["b.bias"].update(shape="x")), "header cannot be read"),
        (lambda content: changed_header(content, lambda h: h["b.bias"].pop("dtype")), "header cannot be read"),
        (
            lambda content: changed_header(content, lambda h: h["a.weight"].update(data_offsets=[9, 3])),
            "tensor a.weight has -6 bytes",
        ),
    ],
)
def test_damage_is_reported(file: Path, damage: Callable[[bytes], bytes], message: str) -> None:
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(WeightsError) as error:
        read_header(file)
    assert message in error.value.message
    assert str(file) in error.value.message
    assert "again" in error.value.hint


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="No such file"):
        read_header(tmp_path / "nothing.safetensors")


def test_unknown_dtype_is_counted_by_its_bytes(file: Path) -> None:
    content = changed_header(file.read_bytes(), lambda header: header["b.bias"].update(dtype="F6_E2M3"))
    file.write_bytes(content)
    assert read_header(file)["b.bias"].bytes == 12
