"""Why vLLM failed to start: explanations of what vLLM, torch, CUDA, NCCL, Triton and FlashInfer say.

The texts are those of vLLM 0.32 and 0.33, torch 2.13 and 2.14, and NCCL 2.27 to 2.30.
"""

import re
import sys
from typing import NamedTuple

from ..errors import EngineError, MariTalkError
from ..i18n.message import Message, Number
from .driver_failures import DRIVER_FAILURES
from .failure_pattern import FailurePattern
from .kernel_failures import KERNEL_FAILURES
from .memory_failures import MEMORY_FAILURES


class Explanation(NamedTuple):
    """Why a start failed, what to do, and the error that says so.

    Of several texts from one process, the one with the lowest `place` explains the others.
    """

    cause: str
    hint: str
    error: type[MariTalkError] = EngineError
    place: int = sys.maxsize


_OTHERS = (
    FailurePattern(
        re.compile(
            r"Total number of attention heads \((?P<heads>\d+)\) must be divisible by "
            r"tensor parallel size \((?P<gpus>\d+)\)"
        ),
        "{heads} attention heads cannot be split over {gpus} GPUs.",
        "Choose a --tensor-parallel-size that divides {heads}.",
    ),
    FailurePattern(
        re.compile(
            r"User-specified max_model_len \((?P<length>\d+)\) is greater than the derived max_model_len "
            r"\(\w+=(?P<tokens>\d+)"
        ),
        "--max-model-len {length} is more than the {tokens} tokens that the model can read.",
        "Choose a smaller one, or leave it out.",
    ),
    FailurePattern(
        re.compile(r"\b(?P<library>lib[\w+-]+\.so[.\d]*): cannot open shared object"),
        "the library {library} is missing, which torch or vLLM needs.",
        "Install vLLM again, in a new environment.",
    ),
    FailurePattern(
        re.compile(r"peer access|peer mapping|PeerAccess(?:Unsupported|NotEnabled)|PEER_ACCESS", re.IGNORECASE),
        "the GPUs cannot read each other's memory.",
        "Set NCCL_P2P_DISABLE=1 and add -- --disable-custom-all-reduce, which is slower.",
    ),
    FailurePattern(
        re.compile(r"in forked subprocess|initializ\w+ CUDA in (?:a )?fork", re.IGNORECASE),
        "CUDA was initialized before a process was forked.",
        "Set VLLM_WORKER_MULTIPROC_METHOD=spawn.",
    ),
    FailurePattern(
        re.compile(
            r"illegal memory access|illegal instruction|misaligned address|unspecified launch failure|"
            r"device-side assert|launch timed out|invalid program counter|IllegalAddress|ILLEGAL_ADDRESS|"
            r"cudaErrorLaunch(?:Failure|Timeout)|CU(?:BLAS|DNN)_STATUS_(?:EXECUTION_FAILED|INTERNAL_ERROR)",
            re.IGNORECASE,
        ),
        "a kernel failed on a GPU, which is a bug of vLLM or a defect of the GPU.",
        "Try -- --enforce-eager, then another --attention-backend; dmesg shows a defect as an Xid error.",
    ),
    FailurePattern(
        re.compile(r"nccl|DistBackendError", re.IGNORECASE),
        "NCCL could not connect the GPUs.",
        "NCCL_DEBUG=INFO has the log say why. Frequent causes: /dev/shm is too small (docker run --ipc=host), the GPUs "
        "cannot read each other's memory (NCCL_P2P_DISABLE=1), or nodes do not reach each other.",
    ),
    FailurePattern(
        re.compile(r"the engine's process was killed by (?P<signal>SIGKILL)"),
        "the engine's process was killed by {signal}",
        "Memory may have run out: dmesg says whether the kernel killed it.",
    ),
    FailurePattern(
        re.compile(r"the engine's process was killed by (?P<signal>SIG(?:SEGV|ABRT|ILL|FPE))"),
        "the engine's process was killed by {signal}",
        "A library crashed: try -- --enforce-eager; dmesg shows a defect of a GPU as an Xid error.",
    ),
)

KNOWN = (*DRIVER_FAILURES, *KERNEL_FAILURES, *MEMORY_FAILURES, *_OTHERS)
"""In order of precedence: a specific cause precedes its possible consequences."""

_OPTION_VALUE = "share"
"""A number that is the value of an option, and so has no other form in any language."""


def explain(text: str) -> Explanation:
    """Return the explanation of vLLM's error `text`; `text` itself, without a hint, if it is unknown."""
    for place, known in enumerate(KNOWN):
        if found := known.pattern.search(text):
            values = {name: _value(name, value) for name, value in found.groupdict().items()}
            return Explanation(Message(known.cause, values), Message(known.hint, values), known.error, place)
    return Explanation(text, "")


def _value(name: str, text: str) -> object:
    if name == _OPTION_VALUE or not re.fullmatch(r"\d+\.\d+", text):
        return text
    return Number(float(text), f".{len(text.partition('.')[2])}f")
