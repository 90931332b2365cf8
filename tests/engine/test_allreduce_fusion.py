"""The size of fused all-reduces: vLLM's own number, merged with the user's flags."""

import json

import pytest

from maritalk_vllm.engine import allreduce_fusion
from maritalk_vllm.engine.allreduce_fusion import fusion_size_mb, with_fusion_size
from maritalk_vllm.hardware.gpu import Gpu


def gpu(capability: tuple[int, int]) -> Gpu:
    return Gpu(0, "GPU-0", "a GPU", 80 << 30, 80 << 30, capability)


# vLLM 0.32's and 0.33's table, from which the numbers must be read.
@pytest.mark.parametrize(
    ("capability", "tensor_parallel_size", "size"),
    [
        ((9, 0), 2, 64),
        ((9, 0), 4, 2),
        ((9, 0), 8, 0.5),
        ((10, 0), 2, 64),
        ((10, 0), 4, 32),
        ((10, 0), 8, 1),
        ((10, 3), 4, 64),
        ((10, 3), 8, 4),
        ((9, 0), 1, None),
        ((9, 0), 3, None),
        ((8, 0), 2, None),
        ((12, 0), 2, None),
    ],
)
def test_the_size_is_that_of_the_installed_vllm(
    capability: tuple[int, int], tensor_parallel_size: int, size: float | None
) -> None:
    assert fusion_size_mb([gpu(capability)], tensor_parallel_size) == size


def test_without_gpus_or_vllm_there_is_no_size(monkeypatch: pytest.MonkeyPatch) -> None:
    assert fusion_size_mb([], 2) is None
    allreduce_fusion._sizes.cache_clear()
    monkeypatch.setattr(allreduce_fusion, "_SOURCE", "no/such/file.py")
    assert fusion_size_mb([gpu((9, 0))], 2) is None
    allreduce_fusion._sizes.cache_clear()


SIZE = '{"pass_config": {"fi_allreduce_fusion_max_size_mb": 64}}'


@pytest.mark.parametrize(
    ("given", "passed"),
    [
        (["--seed", "3"], ["--compilation-config", SIZE, "--seed", "3"]),
        (
            ["--compilation-config", '{"mode": 3, "pass_config": {"fuse_norm_quant": true}}', "--seed", "3"],
            [
                "--compilation-config",
                '{"mode": 3, "pass_config": {"fi_allreduce_fusion_max_size_mb": 64, "fuse_norm_quant": true}}',
                "--seed",
                "3",
            ],
        ),
        (
            ['--compilation_config={"mode": 3}'],
            ['--compilation-config={"mode": 3, "pass_config": {"fi_allreduce_fusion_max_size_mb": 64}}'],
        ),
        (["-cc", "{}"], ["-cc", SIZE]),
        # The user's own size remains.
        (
            ["-cc", '{"pass_config": {"fi_allreduce_fusion_max_size_mb": 1}}'],
            ["-cc", '{"pass_config": {"fi_allreduce_fusion_max_size_mb": 1}}'],
        ),
        (
            ["-cc.mode", "3"],
            ["-cc.pass_config.fi_allreduce_fusion_max_size_mb=64", "-cc.mode", "3"],
        ),
        (
            ["--compilation-config.pass_config.fi_allreduce_fusion_max_size_mb=1"],
            [
                "--compilation-config.pass_config.fi_allreduce_fusion_max_size_mb=64",
                "--compilation-config.pass_config.fi_allreduce_fusion_max_size_mb=1",
            ],
        ),
        # What vLLM rejects, or reads itself, is passed on.
        (["-cc", "no json"], ["-cc", "no json"]),
        (["-cc", "3"], ["-cc", "3"]),
        (["-cc", '{"pass_config": 3}'], ["-cc", '{"pass_config": 3}']),
        (["--config", "own.yaml"], ["--config", "own.yaml"]),
    ],
)
def test_the_size_is_merged_with_the_users_flags(given: list[str], passed: list[str]) -> None:
    assert with_fusion_size(given, 64) == passed


def test_the_size_is_a_json_number() -> None:
    assert json.loads(with_fusion_size([], 0.5)[1]) == {"pass_config": {"fi_allreduce_fusion_max_size_mb": 0.5}}
