"""Requirements of vLLM's CUDA build on a host beside GPUs: the driver's CUDA library, and compilers for kernels."""

import ctypes
import os
import shutil
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

_CUDA_HOME = Path("/usr/local/cuda")
"""Where FlashInfer looks for the toolkit if neither a variable nor PATH leads to it (flashinfer/jit/cpp_ext.py)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CudaHost:
    """Which parts exist. None of them is run.

    Triton compiles with `has_c_compiler` and `has_python_headers` (`python_header` is the file), FlashInfer with nvcc,
    curand.h and ninja, unless its package of compiled kernels is installed.
    """

    has_libcuda: bool
    has_c_compiler: bool
    has_python_headers: bool
    python_header: Path
    has_nvcc: bool
    has_curand: bool
    has_ninja: bool
    has_flashinfer_kernels: bool

    @property
    def can_use_flashinfer(self) -> bool:
        """Whether FlashInfer's kernels are installed, or can be compiled at a start."""
        return self.has_flashinfer_kernels or not self.missing_for_flashinfer

    @property
    def missing_for_flashinfer(self) -> tuple[str, ...]:
        """Missing parts that FlashInfer needs to compile its kernels."""
        parts = {"nvcc": self.has_nvcc, "curand.h": self.has_curand, "ninja": self.has_ninja}
        return tuple(name for name, is_there in parts.items() if not is_there)


def cuda_host(environment: Mapping[str, str] = os.environ) -> CudaHost:
    """Look at this host, as a process with this environment would. Takes a few milliseconds."""
    path = environment.get("PATH", os.defpath)
    toolkit = _toolkit(environment, path)
    header = _python_header()
    includes = [Path(folder) for name in ("CPATH", "C_INCLUDE_PATH") for folder in _folders(environment, name)]
    return CudaHost(
        has_libcuda=_loads("libcuda.so.1"),
        has_c_compiler=any(
            shutil.which(name, path=path) for name in ([environment["CC"]] if "CC" in environment else ["gcc", "clang"])
        ),
        has_python_headers=any((folder / "Python.h").is_file() for folder in (header.parent, *includes)),
        python_header=header,
        has_nvcc=shutil.which(toolkit / "bin/nvcc") is not None,
        has_curand=any((folder / "curand.h").is_file() for folder in (toolkit / "include", *includes)),
        has_ninja=shutil.which("ninja", path=path) is not None,
        has_flashinfer_kernels=_has_flashinfer_kernels(),
    )


def _folders(environment: Mapping[str, str], name: str) -> list[str]:
    return list(filter(None, environment.get(name, "").split(os.pathsep)))


def _toolkit(environment: Mapping[str, str], path: str) -> Path:
    """The toolkit's folder, found as FlashInfer does."""
    if home := environment.get("CUDA_HOME") or environment.get("CUDA_PATH"):
        return Path(home)
    nvcc = shutil.which("nvcc", path=path)
    return Path(nvcc).parent.parent if nvcc else _CUDA_HOME


def _python_header() -> Path:
    """Python.h where Triton has the compiler look for it (triton/runtime/build.py)."""
    scheme = sysconfig.get_default_scheme()
    # Debian's own scheme names a folder below /usr/local, and its package puts the file below /usr.
    paths = sysconfig.get_paths("posix_prefix" if scheme == "posix_local" else scheme)
    return Path(paths["include"], "Python.h")


def _loads(library: str) -> bool:
    # Loading libcuda does not initialise CUDA. Only the dynamic loader knows all the folders that it searches.
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def _has_flashinfer_kernels() -> bool:
    """Whether flashinfer-jit-cache is installed, in the version of FlashInfer: another one is not loaded."""
    try:
        versions = [metadata.version(name) for name in ("flashinfer-jit-cache", "flashinfer-python")]
    except metadata.PackageNotFoundError:
        return False
    return len({version.partition("+")[0] for version in versions}) == 1
