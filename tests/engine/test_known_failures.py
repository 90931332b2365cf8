"""Explanations for the errors of vLLM, torch, CUDA, NCCL, Triton and FlashInfer at a failed start."""

import re

import pytest

from maritalk_vllm.engine.known_failures import KNOWN, explain
from maritalk_vllm.i18n.message import placeholders


@pytest.mark.parametrize(
    ("text", "cause", "hint"),
    [
        (
            "To serve at least one request with the model's max seq len (8192), (0.18 GiB KV cache is needed, which "
            "is larger than the available KV cache memory (0.09 GiB). Based on the available memory, the estimated "
            "maximum model length is 3968. Try increasing `gpu_memory_utilization`",
            "one request of 8192 tokens needs 0.18 GiB of KV cache, and 0.09 GiB are available.",
            "--max-model-len 3968",
        ),
        (  # not even one token
            "To serve at least one request with the model's max seq len (8192), (0.18 GiB KV cache is needed, which "
            "is larger than the available KV cache memory (0.01 GiB). Try increasing `gpu_memory_utilization`",
            "one request of 8192 tokens needs 0.18 GiB of KV cache, and 0.01 GiB are available.",
            "more memory with --gpu-memory-utilization",
        ),
        (
            "Free memory on device cuda:0 (10.5/22.05 GiB) on startup is less than desired GPU memory utilization "
            "(0.92, 20.29 GiB). Decrease GPU memory utilization or reduce GPU memory used by other processes.",
            "10.5 of 22.05 GiB are free on cuda:0, and 20.29 GiB were planned for (--gpu-memory-utilization 0.92).",
            "maritalk-vllm doctor",
        ),
        (
            "Total number of attention heads (9) must be divisible by tensor parallel size (2).",
            "9 attention heads cannot be split over 2 GPUs.",
            "divides 9",
        ),
        (
            "User-specified max_model_len (9999) is greater than the derived max_model_len "
            "(max_position_embeddings=8192.0 or model_max_length=None in model's config.json).",
            "--max-model-len 9999 is more than the 8192 tokens that the model can read.",
            "leave it out",
        ),
        (
            "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 22.05 GiB of which 1.10 GiB "
            "is free. Process 1 has 20 GiB memory in use.",
            "GPU 0 ran out of memory: 2.00 GiB were asked for, and 1.10 GiB of 22.05 GiB were free.",
            "--tensor-parallel-size",
        ),
        (
            "CUDA out of memory occurred when warming up sampler with 256 dummy requests. Please try lowering "
            "`max_num_seqs` or `gpu_memory_utilization` when initializing the engine.",
            "a GPU ran out of memory when 256 requests were tried at once.",
            "Add -- --max-num-seqs with a smaller number than 256",
        ),
        (
            "Bfloat16 is only supported on GPUs with compute capability of at least 8.0. Your Tesla T4 GPU has compute "
            "capability 7.5. You can use float16 instead by explicitly setting the `dtype` flag in CLI",
            "Tesla T4 cannot compute in bfloat16.",
            "compute capability 8.0",
        ),
        (
            "libcudart.so.13: cannot open shared object file: No such file or directory",
            "the library libcudart.so.13 is missing, which torch or vLLM needs.",
            "new environment",
        ),
        (
            "No available memory for the cache blocks. Try",
            "nothing is left for the KV cache beside the weights.",
            "--gpu",
        ),
        ("An unknown error.", "An unknown error.", ""),
    ],
)
def test_the_explanation_has_the_values_of_the_text(text: str, cause: str, hint: str) -> None:
    assert explain(text).cause == cause
    assert hint in explain(text).hint


CORPUS: dict[tuple[str, str, int], tuple[str, ...]] = {
    ("finds no NVIDIA driver", "nvidia-smi", 4): (
        "Found no NVIDIA driver on your system. Please check that you have an NVIDIA GPU and installed a driver from "
        "http://www.nvidia.com/Download/index.aspx",
        "CUDA driver initialization failed, you might not have a CUDA gpu.",
        "Failed to infer device type, please set the environment variable `VLLM_LOGGING_LEVEL=DEBUG` to turn on "
        "verbose logging to help debug the issue.",
        "NVML Shared Library Not Found",
        "Driver Not Loaded",
        "0 active drivers ([]). There should only be one.",
    ),
    ("does not see a GPU", "nvidia-smi -L", 4): (
        "No CUDA GPUs are available",
        "CUDA error: no CUDA-capable device is detected",
        "CUDA error: invalid device ordinal",
    ),
    ("too old for the CUDA", "Update the NVIDIA driver", 4): (
        "The NVIDIA driver on your system is too old (found version 12080). Please update your GPU driver by "
        "downloading and installing a new version",
        "Unexpected error from cudaGetDeviceCount(). Error 35: CUDA driver version is insufficient for CUDA runtime "
        "version",
        "CUDA error: the provided PTX was compiled with an unsupported toolchain.",
    ),
    ("do not work together", "Restart the machine", 4): (
        "Unexpected error from cudaGetDeviceCount(). Did you run some cuda functions before calling NumCudaDevices() "
        "that might have already set an error? Error 803: system has unsupported display driver / cuda driver "
        "combination",
        "Error 804: forward compatibility was attempted on non supported HW",
        "Driver/library version mismatch",
    ),
    ("uses a GPU exclusively", "nvidia-smi -q -d COMPUTE", 4): (
        "CUDA error: CUDA-capable device(s) is/are busy or unavailable Search for `cudaErrorDevicesUnavailable' in "
        "https://docs.nvidia.com/cuda/cuda-runtime-api/group__CUDART__TYPES.html for more information.",
        "CUDA error 46: all CUDA-capable devices are busy or unavailable",
    ),
    ("Fabric Manager does not run", "nvidia-fabricmanager", 4): (
        "Unexpected error from cudaGetDeviceCount(). Did you run some cuda functions before calling NumCudaDevices() "
        "that might have already set an error? Error 802: system not yet initialized",
        "CUDA error: system not yet initialized Search for `cudaErrorSystemNotReady'",
    ),
    ("does not say why", "nvidia_uvm", 4): (
        "CUDA unknown error - this may be due to an incorrectly set up environment, e.g. changing env variable "
        "CUDA_VISIBLE_DEVICES after program start. Setting the available devices to be zero.",
    ),
    ("could not be initialized", "modprobe", 4): (
        "Unexpected error from cudaGetDeviceCount(). Error 304: OS call failed or operation not supported on this OS",
        "CUDA error: initialization error",
    ),
    ("hardware error", "Xid", 4): (
        "CUDA error: uncorrectable ECC error encountered",
        "CUDA error: Invalid access of peer GPU memory over nvlink or a hardware error",
        "GPU is lost",
    ),
    ("MIG", "nvidia-smi -mig 0", 4): (
        "Invalid Argument",
        "invalid literal for int() with base 10: 'MIG-41b36413-b21d-5f3a-8c11-0d2f3ad0a1c7'",
    ),
    ("libcuda.so.1 is missing", "NVIDIA_DRIVER_CAPABILITIES", 4): (
        "libcuda.so.1: cannot open shared object file: No such file or directory",
        "libcuda.so cannot found!",
        "CUDA error: CUDA driver is a stub library",
    ),
    ("no kernels for this GPU", "compute capability", 4): (
        "CUDA error: no kernel image is available for execution on the device",
        "CUDA error: device kernel image is invalid",
        "ptxas fatal   : Value 'sm_121' is not defined for option 'gpu-name'",
        "NVIDIA RTX PRO 6000 with CUDA capability sm_120 is not compatible with the current PyTorch installation.",
    ),
    ("the model's quantization", "another quantization", 4): (
        "The quantization method fp8 is not supported for the current GPU. Minimum capability: 89. Current capability: "
        "80.",
    ),
    ("not built for CUDA", "maritalk-vllm doctor", 7): ("Torch not compiled with CUDA enabled",),
    ("another version than the one", "new environment", 7): (
        "/venv/vllm/_C_stable_libtorch.abi3.so: undefined symbol: aoti_torch_empty_strided_pinned",
    ),
    ("toolkit is too old", "VLLM_USE_FLASHINFER_SAMPLER=0", 7): (
        "FlashInfer requires GPUs with sm75 or higher",
        "SM 12.x requires CUDA >= 12.9",
    ),
    ("attention backends can serve", "--kv-cache-dtype", 7): (
        "No valid attention backend found for cuda with AttentionSelectorConfig(head_size=72, dtype=torch.bfloat16, "
        "kv_cache_dtype=auto). Reasons: {FLASH_ATTN: [head_size not supported]}.",
        "No valid MLA prefill backend found with MLASelectorConfig(dtype=torch.bfloat16).",
    ),
    ("chosen attention backend", "--attention-backend TRITON_ATTN", 7): (
        "Selected backend AttentionBackendEnum.FLASHINFER is not valid for this configuration. Reason: "
        "['head_size not supported']",
    ),
    ("no C compiler", "apt-get install gcc", 7): (
        "Failed to find C compiler. Please specify via CC environment variable or set triton.knobs.build.impl.",
        "No working C++ compiler found in torch._inductor.config.cpp.cxx: (None, 'g++')",
    ),
    ("headers of Python", "python3-dev", 7): (
        "Command '['/usr/bin/gcc', '/tmp/tmpa1b2/cuda_utils.c', '-O3', '-shared', '-fPIC', '-Wno-psabi', '-o', "
        "'/tmp/tmpa1b2/cuda_utils.so', '-l:libcuda.so.1']' returned non-zero exit status 1.",
        "/tmp/tmpa1b2/cuda_utils.c:7:10: fatal error: Python.h: No such file or directory",
    ),
    ("there is no nvcc", "vllm download-kernels", 7): (
        "Could not find nvcc and default cuda_home='/usr/local/cuda' doesn't exist",
        "[Errno 2] No such file or directory: '/usr/local/cuda/bin/nvcc'",
        "CUDA_HOME environment variable is not set. Please set it to your CUDA install root.",
    ),
    ("toolkit or ninja is incomplete", "ninja", 7): (
        "Ninja build failed. Ninja output: [1/3] c++ -MMD",
        "[Errno 2] No such file or directory: 'ninja'",
        "/usr/lib/flashinfer/data/include/flashinfer/sampling.cuh:20:10: fatal error: curand.h: No such file",
        "Command '['ninja', '-v', '-C', '/root/.cache/flashinfer']' returned non-zero exit status 1.",
    ),
    ("have different versions", "vllm download-kernels", 7): (
        "flashinfer-jit-cache version (0.6.9+cu130) does not match flashinfer version (0.7.0.post1).",
        "flashinfer-cubin version (0.6.9) does not match flashinfer version (0.7.0).",
    ),
    ("/dev/shm", "--shm-size", 5): (
        "[Errno 28] No space left on device",
        "the engine's process was killed by SIGBUS",
        "Error while creating shared memory segment /dev/shm/nccl-a1B2c3 (size 9637888), error: No space left",
    ),
    ("host ran out of memory", "maritalk-vllm plan", 5): (
        "[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory",
        "[Errno 12] Cannot allocate memory",
    ),
    ("another program freed memory", "maritalk-vllm doctor", 7): (
        "Error in memory profiling. Initial free memory 20.1 GiB, current free memory 21.3 GiB. This happens when "
        "other processes sharing the same container release GPU memory while vLLM is profiling during initialization.",
    ),
    ("a GPU ran out of memory", "--gpu-memory-utilization", 7): (
        "CUDA error: out of memory Search for `cudaErrorMemoryAllocation' in https://docs.nvidia.com/...",
        "CUDA driver error: out of memory",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "NCCL error in: /pytorch/torch/csrc/distributed/c10d/NCCLUtils.cpp:94, unhandled cuda error, NCCL version "
        "2.30.7 ncclUnhandledCudaError: Call to CUDA function failed. Last error: Cuda failure 2 'out of memory'",
    ),
    ("cannot read each other's memory", "NCCL_P2P_DISABLE=1", 7): (
        "CUDA error: peer access is not supported between these two devices",
        "CUDART error: peer access is not supported between these two devices",
    ),
    ("before a process was forked", "spawn", 7): (
        "Cannot re-initialize CUDA in forked subprocess. To use CUDA with multiprocessing, you must use the 'spawn' "
        "start method",
    ),
    ("a kernel failed on a GPU", "--enforce-eager", 7): (
        "CUDA error: an illegal memory access was encountered",
        "CUDA error: misaligned address",
        "CUDA error: device-side assert triggered",
    ),
    ("NCCL could not connect", "NCCL_DEBUG=INFO", 7): (
        "NCCL error in: /pytorch/torch/csrc/distributed/c10d/ProcessGroupNCCL.cpp:3690, unhandled cuda error (run with "
        "NCCL_DEBUG=INFO for details), NCCL version 2.30.7",
        "NCCL error: unhandled system error (run with NCCL_DEBUG=INFO for details)",
        "NCCL error: remote process exited or there was a network error",
        "[Rank 1] Watchdog caught collective operation timeout: WorkNCCL(SeqNum=4, OpType=ALLREDUCE)",
        "ncclInternalError: Internal check failed.",
    ),
    ("killed by SIGSEGV", "--enforce-eager", 7): ("the engine's process was killed by SIGSEGV",),
    ("killed by SIGKILL", "Memory may have run out", 7): ("the engine's process was killed by SIGKILL",),
}
"""Texts by a part of their explanation, a part of the hint, and the exit code."""


@pytest.mark.parametrize(
    ("text", "cause", "hint", "exit_code"), [(text, *expected) for expected, texts in CORPUS.items() for text in texts]
)
def test_each_kind_of_failure_has_its_explanation(text: str, cause: str, hint: str, exit_code: int) -> None:
    found = explain(text)
    assert cause in found.cause
    assert hint in found.hint
    assert found.error.exit_code == exit_code


@pytest.mark.parametrize(
    "text",
    [
        "Model architectures ['NoSuchModel'] are not supported for now.",
        "[Errno 101] Network is unreachable",
        "[Errno 22] Invalid argument",
        "HTTP Error 404: Not Found",
        "The checkpoint you are trying to load has model type `new` but Transformers does not recognize it",
        "Invalid repository ID or local directory specified: '/models/x'.",
        "Quantization method specified in the model config (awq) does not match the quantization method specified",
    ],
)
def test_a_failure_of_another_kind_remains_as_it_is(text: str) -> None:
    assert explain(text)[:2] == (text, "")


@pytest.mark.parametrize("known", KNOWN, ids=lambda known: known.cause[:40])
def test_a_pattern_has_each_value_of_its_explanation(known: object) -> None:
    pattern, templates = known.pattern, (known.cause, known.hint)  # type: ignore[attr-defined]
    needed = {name for template in templates for name in placeholders(template)}
    assert needed <= set(pattern.groupindex)
    assert isinstance(pattern, re.Pattern)
