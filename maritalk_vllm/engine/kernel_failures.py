"""Kernels that a GPU lacks, and that cannot be compiled: texts of vLLM, torch, Triton 3.7 and FlashInfer 0.7."""

import re

from ..errors import NoSuitableGPU
from .failure_pattern import FailurePattern

ADVISE_C_COMPILER = "Install one, such as with sudo apt-get install gcc, or name yours in CC."
ADVISE_HEADERS = (
    "Install them: sudo apt-get install python3-dev libc6-dev, on Red Hat's systems python3-devel glibc-devel."
)
_ADVISE_TOOLKIT = (
    "Install a CUDA toolkit and ninja, or run `vllm download-kernels`; or leave out what asks for FlashInfer, such as "
    "VLLM_USE_FLASHINFER_SAMPLER=1 or --attention-backend."
)

KERNEL_FAILURES = (
    FailurePattern(
        re.compile(r"(?:torch|pytorch)\b.* (?:not compiled with|compiled without) CUDA", re.IGNORECASE),
        "the installed torch is not built for CUDA.",
        "maritalk-vllm doctor has the command that installs it.",
    ),
    FailurePattern(
        re.compile(r"undefined symbol: "),
        "the installed torch is of another version than the one that vLLM was built for.",
        "Install vLLM again, in a new environment.",
    ),
    FailurePattern(
        re.compile(r"Selected backend .*? is not valid for this configuration"),
        "the chosen attention backend cannot serve this model on this GPU.",
        "Choose another one, such as -- --attention-backend TRITON_ATTN.",
    ),
    FailurePattern(
        re.compile(
            r"No (?:valid|supported|suitable) [\w ]*?(?:attention|prefill) backend|"
            r"head[_ ]size \d+ is not supported",
            re.IGNORECASE,
        ),
        "none of vLLM's attention backends can serve this model on this GPU.",
        "The log has the reason of each. Leave out flags that restrict the choice, such as --kv-cache-dtype or "
        "--block-size.",
    ),
    FailurePattern(
        # FlashInfer says the first of these of any GPU that its toolkit does not know.
        re.compile(
            r"FlashInfer requires GPUs with sm75|No supported CUDA architectures found|requires CUDA >= [\d.]+|"
            r"Unsupported gpu architecture"
        ),
        "the CUDA toolkit is too old for this GPU.",
        "Update it, or set VLLM_USE_FLASHINFER_SAMPLER=0 and leave out --attention-backend.",
    ),
    FailurePattern(
        re.compile(
            r"no kernel image is available|kernel image is invalid|invalid device function|NoKernelImageForDevice|"
            r"NO_BINARY_FOR_GPU|named symbol not found|only supports Ampere|"
            r"is not compatible with the current PyTorch|requires (?:GPUs? with )?sm_?\d+|"
            r"sm_?\d+\w?'? is not (?:a recognized|defined|supported|compatible)|ptxas.* architecture|PTX codegen error",
            re.IGNORECASE,
        ),
        "the installed torch or vLLM has no kernels for this GPU.",
        "Use another GPU, or a version of vLLM that supports it: maritalk-vllm doctor shows its compute capability.",
        NoSuitableGPU,
    ),
    FailurePattern(
        re.compile(
            r"Bfloat16 is only supported on GPUs with compute capability.*?(?:Your (?P<name>.+?) GPU (?:has|does))",
            re.IGNORECASE,
        ),
        "{name} cannot compute in bfloat16.",
        "Use a GPU of compute capability 8.0 or more.",
        NoSuitableGPU,
    ),
    FailurePattern(
        re.compile(r"not support (?:bfloat16|bf16)|(?:bfloat16|bf16) is (?:not|only) supported", re.IGNORECASE),
        "this GPU cannot compute in bfloat16.",
        "Use a GPU of compute capability 8.0 or more.",
        NoSuitableGPU,
    ),
    FailurePattern(
        re.compile(r"quantization method .* is not supported for the current GPU"),
        "this GPU cannot compute in the model's quantization.",
        "Use a newer GPU, or a checkpoint in another quantization.",
        NoSuitableGPU,
    ),
    # What compiles kernels at a start.
    FailurePattern(
        re.compile(
            r"Failed to find C compiler|No working C(?:\+\+)? compiler|InvalidCxxCompiler|"
            r"No such file or directory: '(?:[^']*/)?(?:gcc|g\+\+|cc|c\+\+|clang)[^'/]*'|"
            r"\b(?:gcc|cc1plus|cc1|g\+\+)'?: (?:command )?not found|cannot execute .?cc1|"
            r"Failed to preprocess host compiler",
            re.IGNORECASE,
        ),
        "there is no C compiler, with which Triton builds vLLM's kernels.",
        ADVISE_C_COMPILER,
    ),
    FailurePattern(
        re.compile(r"flashinfer[-_](?:jit[-_]cache|cubin)\S* version .*does not match", re.IGNORECASE),
        "FlashInfer and its package of compiled kernels have different versions.",
        "Install the right one with `vllm download-kernels`.",
    ),
    FailurePattern(
        re.compile(
            r"could not find (?:nvcc|CUDA)|nvcc(?:'|:)? ?(?:was |command )?not found|"
            r"No such file or directory: '[^']*nvcc'|"
            r"nvcc: No such|CUDA_HOME (?:environment variable )?is not set|JIT compilation is disabled",
            re.IGNORECASE,
        ),
        "FlashInfer's kernels have to be compiled, and there is no nvcc.",
        _ADVISE_TOOLKIT,
    ),
    FailurePattern(
        re.compile(
            r"Ninja build failed|Ninja is required|requires ninja|NVCC compilation failed|"
            r"No such file or directory: '(?:[^']*/)?ninja'|\bninja: |"
            r"\b(?:cu\w+|nvrtc)\.h: No such file|Command '\[?'?[^]]*\b(?:nvcc|ninja)\b.*non-zero",
            re.IGNORECASE,
        ),
        "FlashInfer's kernels could not be compiled: the CUDA toolkit or ninja is incomplete.",
        _ADVISE_TOOLKIT,
    ),
    FailurePattern(
        re.compile(r"\bPython\.h\b|Command '\[?'?[^]]*(?<!nv)(?:gcc|clang|\bcc)\b.*non-zero exit status"),
        "the C compiler failed on Triton's code: the headers of Python or of the C library may be missing.",
        ADVISE_HEADERS,
    ),
)
"""Specific causes come first."""
