"""Failures of the driver, and of GPUs that do not run: texts of CUDA 12 and 13, NVML, torch and Triton."""

import re

from ..errors import NoSuitableGPU
from .failure_pattern import FailurePattern

ADVISE_WHOLE_DRIVER = (
    "In a container, start it with NVIDIA_DRIVER_CAPABILITIES=compute,utility; elsewhere, install the whole NVIDIA "
    "driver again."
)

DRIVER_FAILURES = (
    FailurePattern(
        re.compile(
            r"libcuda\.so[.\d]*: cannot open shared object|libcuda\.so[.\d]* cannot (?:be )?found|"
            r"(?:cannot|could not|unable to|failed to) (?:find|load|open|dlopen)\b.*\blibcuda\b|"
            r"cannot find -l:?(?:lib)?cuda\b|"
            r"CUDA driver is a stub library|cudaErrorStubLibrary|CUDA_ERROR_STUB_LIBRARY",
            re.IGNORECASE,
        ),
        "the NVIDIA driver's library libcuda.so.1 is missing.",
        ADVISE_WHOLE_DRIVER,
        NoSuitableGPU,
    ),
    FailurePattern(
        re.compile(
            r"forward compatibility was attempted|CompatNotSupportedOnDevice|COMPAT_NOT_SUPPORTED|Error 804|"
            r"unsupported display driver ?/ ?cuda driver combination|SystemDriverMismatch|SYSTEM_DRIVER_MISMATCH|"
            r"Error 803|Driver/library version mismatch|LibRmVersionMismatch",
            re.IGNORECASE,
        ),
        "the driver's libraries and its kernel module are of versions that do not work together.",
        "Restart the machine after an update of the driver, and restart containers; in a container with a CUDA "
        "compatibility package, update the host's driver.",
        NoSuitableGPU,
    ),
    FailurePattern(
        re.compile(
            r"driver on your system is too old|driver version is insufficient|InsufficientDriver|"
            r"Insufficient driver|unsupported toolchain|UnsupportedPtxVersion|UNSUPPORTED_PTX_VERSION|"
            r"not supported in the installed CUDA driver|CallRequiresNewerDriver|Error 35\b",
            re.IGNORECASE,
        ),
        "the NVIDIA driver is too old for the CUDA that the installed torch and vLLM were built for.",
        "Update the NVIDIA driver: maritalk-vllm doctor says which CUDA is needed.",
        NoSuitableGPU,
    ),
    FailurePattern(
        re.compile(
            r"Found no NVIDIA driver|CUDA driver initialization failed|Failed to load CUDA driver|"
            r"NVML Shared Library Not Found|NVMLError_LibraryNotFound|NVMLError_DriverNotLoaded|^Driver Not Loaded|"
            r"couldn't communicate with the NVIDIA driver|driver can't be loaded|Failed to infer device type|"
            r"Device string must not be empty|0 active drivers",
            re.IGNORECASE,
        ),
        "CUDA finds no NVIDIA driver.",
        "Check it with nvidia-smi; a container needs docker run --gpus all.",
        NoSuitableGPU,
    ),
    FailurePattern(
        re.compile(
            r"No CUDA GPUs are available|no CUDA-capable device is detected|cudaErrorNoDevice\b|CUDA_ERROR_NO_DEVICE|"
            r"invalid device ordinal|cudaErrorInvalidDevice\b|CUDA_ERROR_INVALID_DEVICE\b|Error 10[01]\b",
            re.IGNORECASE,
        ),
        "CUDA does not see a GPU that the plan uses.",
        "Compare nvidia-smi -L with CUDA_VISIBLE_DEVICES; a container needs docker run --gpus all.",
        NoSuitableGPU,
    ),
    FailurePattern(
        re.compile(
            r"system not yet initialized|SystemNotReady|SYSTEM_NOT_READY|Error 802|nvidia-fabricmanager|fabric manager",
            re.IGNORECASE,
        ),
        "the NVSwitch that connects the GPUs is not initialized: NVIDIA Fabric Manager does not run.",
        "Start it with sudo systemctl start nvidia-fabricmanager; its version has to be the driver's.",
        NoSuitableGPU,
    ),
    FailurePattern(
        re.compile(r"busy or unavailable|DevicesUnavailable|DEVICE_UNAVAILABLE|Error 46\b", re.IGNORECASE),
        "another process uses a GPU exclusively, or its compute mode forbids processes.",
        "nvidia-smi shows the processes, and nvidia-smi -q -d COMPUTE the mode; sudo nvidia-smi -c DEFAULT lifts it.",
        NoSuitableGPU,
    ),
    FailurePattern(
        re.compile(r"\bMPS (?:client|server)\b|cudaErrorMps|CUDA_ERROR_MPS", re.IGNORECASE),
        "CUDA's MPS server takes no more processes.",
        "Restart it, or stop it with `echo quit | nvidia-cuda-mps-control`.",
        NoSuitableGPU,
    ),
    FailurePattern(
        re.compile(
            r"ECC error|uncorrectable NVLink|cudaErrorNvlinkUncorrectable|hardware stack error|GPU is lost|GpuIsLost|"
            r"fallen off the bus|hardware error|requires? (?:a )?reset",
            re.IGNORECASE,
        ),
        "a GPU has reported a hardware error.",
        "dmesg has its Xid error. Reset the GPU with sudo nvidia-smi --gpu-reset, or restart the machine.",
        NoSuitableGPU,
    ),
    FailurePattern(
        re.compile(
            r"CUDA unknown error|\bcudaErrorUnknown\b|Error 999\b|CUDA (?:driver )?error: unknown|"
            r"\binitialization error|cudaErrorInitializationError|OS call failed|Error 304\b",
            re.IGNORECASE,
        ),
        "CUDA could not be initialized, and the driver does not say why.",
        "Restart the container, or load the module with sudo modprobe nvidia_uvm; dmesg may say more.",
        NoSuitableGPU,
    ),
    FailurePattern(
        # The C library spells it "Invalid argument".
        re.compile(r"\bInvalid Argument\b|NVMLError_InvalidArgument|invalid literal for int\(\).*'(?:MIG|GPU)-"),
        "NVML does not know a GPU that vLLM asks for, as happens with MIG instances.",
        "Serve on a whole GPU: name one in CUDA_VISIBLE_DEVICES, or turn MIG off with sudo nvidia-smi -mig 0.",
        NoSuitableGPU,
    ),
)
"""Specific causes come first."""
