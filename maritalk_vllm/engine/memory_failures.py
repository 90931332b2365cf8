"""Memory that did not suffice for a start: texts of vLLM, torch and the C library."""

import re

from ..errors import DoesNotFit
from .failure_pattern import FailurePattern

_GIB = r"[\d.]+"
_MORE = "Give vLLM more memory with --gpu-memory-utilization, or spread the model with --tensor-parallel-size."

MEMORY_FAILURES = (
    FailurePattern(
        re.compile(
            rf"To serve at least one request with the model's max seq len \((?P<tokens>\d+)\), "
            rf"\((?P<needed>{_GIB}) GiB KV cache is needed, which is larger than the available KV cache memory "
            rf"\((?P<available>{_GIB}) GiB\).*estimated maximum model length is (?P<length>\d+)"
        ),
        "one request of {tokens} tokens needs {needed} GiB of KV cache, and {available} GiB are available.",
        "Serve shorter ones: --max-model-len {length}.",
    ),
    FailurePattern(
        re.compile(
            rf"max seq len \((?P<tokens>\d+)\), \((?P<needed>{_GIB}) GiB KV cache is needed, which is larger than the "
            rf"available KV cache memory \((?P<available>{_GIB}) GiB\)"
        ),
        "one request of {tokens} tokens needs {needed} GiB of KV cache, and {available} GiB are available.",
        _MORE,
    ),
    FailurePattern(
        re.compile(
            rf"Free memory on device (?P<device>\S+) \((?P<free>{_GIB})/(?P<total>{_GIB}) GiB\) on startup "
            rf"is less than desired GPU memory utilization \((?P<share>{_GIB}), (?P<planned>{_GIB}) GiB\)"
        ),
        "{free} of {total} GiB are free on {device}, and {planned} GiB were planned for "
        "(--gpu-memory-utilization {share}).",
        "Another program has taken memory since the plan was made: see maritalk-vllm doctor.",
    ),
    FailurePattern(
        re.compile(r"No available memory for the cache blocks|Cannot auto-fit max_model_len"),
        "nothing is left for the KV cache beside the weights.",
        _MORE,
    ),
    FailurePattern(
        re.compile(r"Error in memory profiling"),
        "another program freed memory of a GPU while vLLM measured it.",
        "Start it again when no other program on that GPU starts or stops: see maritalk-vllm doctor.",
    ),
    FailurePattern(
        re.compile(r"out of memory occurred when warming up .*?with (?P<requests>\d+)", re.IGNORECASE),
        "a GPU ran out of memory when {requests} requests were tried at once.",
        "Add -- --max-num-seqs with a smaller number than {requests}, or lower --gpu-memory-utilization.",
    ),
    FailurePattern(
        re.compile(
            rf"out of memory\. Tried to allocate (?P<asked>{_GIB}) (?P<unit>\w+)\. GPU (?P<gpu>\d+) has a total "
            rf"capacity of (?P<total>{_GIB}) (?P<unit3>\w+) of which (?P<free>{_GIB}) (?P<unit2>\w+) is free"
        ),
        "GPU {gpu} ran out of memory: {asked} {unit} were asked for, and {free} {unit2} of {total} {unit3} were free.",
        "Give vLLM less with --gpu-memory-utilization, or spread the model with --tensor-parallel-size.",
    ),
    FailurePattern(
        re.compile(
            r"/dev/shm|No space left on device|Errno 28\b|killed by SIGBUS|Bus error|insufficient shared memory|"
            r"(?:shm_open|posix_fallocate|shared memory).*(?:fail|error|unable)|"
            r"(?:fail|error|unable).*(?:shm_open|posix_fallocate|(?:creat\w+|open|allocate|map) shared memory)",
            re.IGNORECASE,
        ),
        "/dev/shm, through which the processes exchange data, or a disk is full.",
        "df -h shows which. A container needs docker run --ipc=host or --shm-size=8g, a pod an emptyDir of Memory.",
        DoesNotFit,
    ),
    FailurePattern(
        re.compile(
            r"(?:cannot|can't|unable to|could not) allocate (?:host )?memory|Errno 12\b|DefaultCPUAllocator|"
            r"\bbad_alloc\b|\bMemoryError\b",
            re.IGNORECASE,
        ),
        "the host ran out of memory.",
        "Give the machine or the container more, or stop other programs: maritalk-vllm plan says what is needed.",
        DoesNotFit,
    ),
    FailurePattern(
        re.compile(
            r"out of memory|MemoryAllocation\b|CUDA_ERROR_OUT_OF_MEMORY|not enough GPU memory|"
            r"CUBLAS_STATUS_(?:ALLOC_FAILED|NOT_INITIALIZED)",
            re.IGNORECASE,
        ),
        "a GPU ran out of memory.",
        "maritalk-vllm doctor shows other programs on it. Otherwise give vLLM less with --gpu-memory-utilization, or "
        "spread the model with --tensor-parallel-size.",
    ),
)
"""Specific causes come first."""
