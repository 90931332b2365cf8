"""Detection of the driver, compilers and headers that vLLM's CUDA build needs on a host."""

import sys
import sysconfig
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import pytest

from maritalk_vllm.hardware import cuda_host as module
from maritalk_vllm.hardware.cuda_host import CudaHost, cuda_host

BARE = CudaHost(
    has_libcuda=True,
    has_c_compiler=True,
    has_python_headers=True,
    python_header=Path("/usr/include/python3.12/Python.h"),
    has_nvcc=False,
    has_curand=False,
    has_ninja=False,
    has_flashinfer_kernels=False,
)
"""A host as the README describes it: a driver and a C compiler, and no CUDA toolkit."""

COMPLETE = replace(BARE, has_nvcc=True, has_curand=True, has_ninja=True)


def executable(file: Path) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("#!/bin/sh\n")
    file.chmod(0o755)
    return file


def toolkit(folder: Path, *, header: bool = True) -> Path:
    executable(folder / "bin/nvcc")
    (folder / "include").mkdir()
    if header:
        (folder / "include/curand.h").touch()
    return folder


def test_a_host_without_any_tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CUDA_HOME", tmp_path / "none")
    found = cuda_host({"PATH": str(tmp_path)})
    assert not found.has_c_compiler
    assert found.missing_for_flashinfer == ("nvcc", "curand.h", "ninja")
    assert not found.can_use_flashinfer


@pytest.mark.parametrize("variable", ["CUDA_HOME", "CUDA_PATH", "PATH"])
def test_a_toolkit_is_found_where_flashinfer_finds_it(tmp_path: Path, variable: str) -> None:
    home = toolkit(tmp_path / "cuda")
    tools = executable(tmp_path / "tools/ninja").parent
    environment = {"PATH": str(tools)}
    if variable == "PATH":
        environment["PATH"] += f":{home}/bin"
    else:
        environment[variable] = str(home)
    assert cuda_host(environment).missing_for_flashinfer == ()
    assert cuda_host(environment).can_use_flashinfer


def test_a_toolkit_without_curand_does_not_compile_the_sampler(tmp_path: Path) -> None:
    """A toolkit of which only nvcc is installed."""
    home = toolkit(tmp_path / "cuda", header=False)
    environment = {"CUDA_HOME": str(home), "PATH": str(executable(tmp_path / "tools/ninja").parent)}
    assert cuda_host(environment).missing_for_flashinfer == ("curand.h",)
    (home / "elsewhere").mkdir()
    (home / "elsewhere/curand.h").touch()
    assert cuda_host({**environment, "CPATH": f"/nowhere:{home}/elsewhere"}).missing_for_flashinfer == ()


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_a_c_compiler_is_found_as_triton_finds_it(tmp_path: Path, compiler: str) -> None:
    executable(tmp_path / compiler)
    own = executable(tmp_path / "elsewhere/my-cc")
    assert cuda_host({"PATH": str(tmp_path)}).has_c_compiler
    assert cuda_host({"PATH": "/nowhere", "CC": str(own)}).has_c_compiler
    # Triton uses this one alone if it is named.
    assert not cuda_host({"PATH": str(tmp_path), "CC": "no-such-compiler"}).has_c_compiler


def test_the_headers_are_those_of_this_python(tmp_path: Path) -> None:
    """The tests' machine compiles extensions, and so has them."""
    found = cuda_host({})
    assert found.python_header == Path(sysconfig.get_paths()["include"], "Python.h")
    assert f"python{sys.version_info.major}.{sys.version_info.minor}" in str(found.python_header)
    assert found.has_python_headers == found.python_header.is_file()
    (tmp_path / "Python.h").touch()
    assert cuda_host({"C_INCLUDE_PATH": str(tmp_path)}).has_python_headers


@pytest.mark.parametrize(
    ("versions", "usable"),
    [
        ({"flashinfer-python": "0.7.0.post1", "flashinfer-jit-cache": "0.7.0.post1+cu130"}, True),
        ({"flashinfer-python": "0.7.0.post1", "flashinfer-jit-cache": "0.6.9+cu130"}, False),
        ({"flashinfer-python": "0.7.0"}, False),
        ({}, False),
    ],
)
def test_compiled_kernels_have_the_version_of_flashinfer(
    monkeypatch: pytest.MonkeyPatch, versions: dict[str, str], usable: bool
) -> None:
    def version(name: str) -> str:
        if name not in versions:
            raise metadata.PackageNotFoundError(name)
        return versions[name]

    monkeypatch.setattr(metadata, "version", version)
    assert cuda_host({"PATH": "/nowhere"}).has_flashinfer_kernels is usable
    assert replace(BARE, has_flashinfer_kernels=usable).can_use_flashinfer is usable


def test_the_driver_library_is_looked_up_by_the_dynamic_loader() -> None:
    assert not module._loads("libno-such-library.so.1")
    assert module._loads("libc.so.6")
