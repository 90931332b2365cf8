"""A worker of vLLM that computes nothing: it answers by arithmetic, after a time for each step that can be set.

With `--worker-cls benchmarks.null_worker.NullWorker` the front end, the scheduler and the processes of an engine are
vLLM's own, and it needs neither weights nor a GPU. Benchmarks measure a front end with it; tests/cuda serves with the
CUDA build of vLLM on a machine without a GPU. null_engine.py has the flags.

A token depends on the prompt, the LoRA adapter and its place in the answer alone. However requests are scheduled, split
over workers, preempted or speculated on, their answers are the same.
"""

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from vllm.v1.kv_cache_interface import FullAttentionSpec
from vllm.v1.kv_cache_layout import KVCacheLayout
from vllm.v1.outputs import (
    EMPTY_MODEL_RUNNER_OUTPUT,
    AsyncModelRunnerOutput,
    DraftTokenIds,
    LogprobsLists,
    LogprobsTensors,
    ModelRunnerOutput,
)
from vllm.v1.worker.worker_base import CompilationTimes, WorkerBase

if TYPE_CHECKING:
    from vllm.lora.request import LoRARequest
    from vllm.sampling_params import SamplingParams
    from vllm.v1.core.sched.output import GrammarOutput, NewRequestData, SchedulerOutput
    from vllm.v1.kv_cache_interface import KVCacheSpec

FIRST_TOKEN, TOKENS = 300, 90
"""Sampled tokens are one of `TOKENS` from this id on: parts of words in the vocabularies of byte-pair encodings."""

_STRIDE = 7919
"""A prime, by which consecutive tokens differ."""
_WRONG_DRAFT = 3
_LOGPROB = -1.0


class NullWorker(WorkerBase):  # type: ignore[misc]
    """Implements what vLLM's engine calls on a worker of a model that generates text, with LoRA and speculation."""

    def __init__(self, *arguments: Any, **named: Any) -> None:  # noqa: ANN401
        super().__init__(*arguments, **named)
        options = self.vllm_config.additional_config
        self._step_seconds = float(options["step_ms"]) / 1000
        self._kv_bytes = int(float(options["kv_gib"]) * 2**30)
        self._requests: dict[str, _Request] = {}
        self._scheduled: SchedulerOutput | None = None
        self._adapters: set[int] = set()
        self._busy_until = 0.0

    def init_device(self) -> None:
        """Set no device: vLLM's thread for outputs would select it, which initialises CUDA."""
        del self.device

    def load_model(self, *, load_dummy_weights: bool = False) -> None:
        """Load nothing."""

    def get_kv_cache_spec(self) -> "dict[str, KVCacheSpec]":
        """Full attention in each layer of this worker's pipeline stage, as wide as the model's."""
        model, parallel = self.model_config, self.parallel_config
        spec = FullAttentionSpec(
            block_size=self.cache_config.block_size,
            num_kv_heads=model.get_num_kv_heads(parallel),
            head_size=model.get_head_size(),
            dtype=model.dtype,
        )
        layers = range(*model.get_layers_start_end_indices(parallel))
        return {f"model.layers.{number}.self_attn.attn": spec for number in layers}

    def get_supported_kv_cache_layouts(self) -> list[str]:
        """Any layout: nothing is stored."""
        return [layout.name for layout in KVCacheLayout]

    def determine_available_memory(self) -> int:
        """Bytes for the KV cache."""
        return self._kv_bytes

    def initialize_from_config(self, kv_cache_config: object) -> None:
        """Allocate nothing."""

    def update_max_model_len(self, max_model_len: int) -> None:
        """Take the length that vLLM has found to fit."""
        self.model_config.max_model_len = max_model_len

    def compile_or_warm_up_model(self) -> CompilationTimes:
        """Compile nothing."""
        return CompilationTimes(0.0, 0.0)

    def get_supported_tasks(self) -> tuple[str, ...]:
        """Text alone."""
        return ("generate",)

    def add_lora(self, lora_request: "LoRARequest") -> bool:
        """Load nothing of the adapter, whose id changes the tokens."""
        self._adapters.add(lora_request.lora_int_id)
        return True

    def remove_lora(self, lora_id: int) -> bool:
        """Whether the adapter was loaded."""
        was_loaded = lora_id in self._adapters
        self._adapters.discard(lora_id)
        return was_loaded

    def pin_lora(self, lora_id: int) -> bool:
        """Whether the adapter is loaded: none is ever evicted."""
        return lora_id in self._adapters

    def list_loras(self) -> set[int]:
        """Ids of the loaded adapters."""
        return set(self._adapters)

    def take_draft_token_ids(self) -> DraftTokenIds | None:
        """Drafts of any tokens for a synchronous scheduler: an asynchronous one plans them by their number alone."""
        speculation = self.vllm_config.speculative_config
        if speculation is None or self.vllm_config.scheduler_config.async_scheduling:
            return None
        keys = list(self._requests)
        return DraftTokenIds(keys, [[0] * speculation.num_speculative_tokens for _ in keys])

    def get_kv_connector_handshake_metadata(self) -> None:
        """There is no connector."""

    def get_encoder_cache_output_widths(self, *arguments: object, **named: object) -> dict[str, int]:
        """There is no encoder."""
        return {}

    def synchronize_device(self) -> None:
        """Wait for nothing."""

    def execute_dummy_batch(self) -> None:
        """Take the time of a step, which the other replicas of a mixture of experts wait for."""
        time.sleep(self._step_seconds)

    def execute_model(self, scheduler_output: "SchedulerOutput") -> ModelRunnerOutput | None:
        """Note what is scheduled. `sample_tokens` follows, unless there is nothing to do."""
        for request in scheduler_output.scheduled_new_reqs:
            self._requests[request.req_id] = _Request.of(request)
        cached = scheduler_output.scheduled_cached_reqs
        for index, key in enumerate(cached.req_ids):
            request = self._requests[key]
            request.computed = cached.num_computed_tokens[index]
            if key in cached.resumed_req_ids:
                request.sampled = cached.num_output_tokens[index]
        for key in scheduler_output.finished_req_ids:
            self._requests.pop(key, None)
        if not scheduler_output.total_num_scheduled_tokens:
            return EMPTY_MODEL_RUNNER_OUTPUT
        self._scheduled = scheduler_output
        return None

    def sample_tokens(self, grammar_output: "GrammarOutput | None") -> ModelRunnerOutput | AsyncModelRunnerOutput:
        """One token for each request whose prompt is computed, and those of its drafts that are right."""
        scheduled, self._scheduled = self._scheduled, None
        if scheduled is None:
            return EMPTY_MODEL_RUNNER_OUTPUT
        drafts = scheduled.scheduled_spec_decode_tokens
        allowed: dict[str, Any] = {}
        if grammar_output is not None:
            rows = iter(grammar_output.grammar_bitmask)
            for key in grammar_output.structured_output_request_ids:
                # One for the next token, and one after each draft, of which none is accepted here.
                allowed[key], *_ = (next(rows) for _ in range(1 + len(drafts.get(key, ()))))
        keys = list(scheduled.num_scheduled_tokens)
        tokens: list[list[int]] = []
        prompts: dict[str, LogprobsTensors | None] = {}
        for key in keys:
            request = self._requests[key]
            if request.computed + scheduled.num_scheduled_tokens[key] < len(request.prompt) + request.sampled:
                tokens.append([])
                continue
            if not request.sampled and request.parameters.prompt_logprobs is not None:
                prompts[key] = _prompt_logprobs(request)
            tokens.append(request.sample_all(len(drafts.get(key, ())), allowed.get(key)))
        output = ModelRunnerOutput(
            req_ids=keys,
            req_id_to_index={key: index for index, key in enumerate(keys)},
            sampled_token_ids=tokens,
            logprobs=_logprobs([self._requests[key] for key in keys], tokens),
            prompt_logprobs_dict=prompts,
        )
        self._busy_until = max(self._busy_until, time.monotonic()) + self._step_seconds
        pending = _Pending(output, self._busy_until)
        return pending if self.scheduler_config.async_scheduling else pending.get_output()


@dataclass(slots=True)
class _Request:
    """One request: `computed` tokens of it are in the KV cache, and `sampled` tokens of its answer are known.

    Its tokens follow from `seed`.
    """

    prompt: list[int]
    parameters: "SamplingParams"
    computed: int
    seed: int
    sampled: int = 0

    @classmethod
    def of(cls, request: "NewRequestData") -> "_Request":
        prompt, parameters = request.prompt_token_ids, request.sampling_params
        assert prompt is not None and parameters is not None
        # For its second model runner, vLLM sends a preempted request as a new one, with its answer so far.
        sampled = len(request.prefill_token_ids or prompt) - len(prompt)
        adapter = request.lora_request.lora_int_id if request.lora_request is not None else 0
        return cls(prompt, parameters, request.num_computed_tokens, sum(prompt) + adapter, sampled)

    def sample_all(self, drafts: int, allowed: np.ndarray | None) -> list[int]:
        """The next token, and one more after each of `drafts` that is right. With a grammar, the next token alone.

        A scheduler that is asynchronous knows the number of drafts alone. They are right, except those for the places
        that are multiples of `_WRONG_DRAFT`.
        """
        tokens = [self.sample(allowed)]
        for _ in range(drafts if allowed is None else 0):
            if (self.sampled - 1) % _WRONG_DRAFT == 0:
                break
            tokens.append(self.sample(None))
        return tokens

    def sample(self, allowed: np.ndarray | None) -> int:
        """The next token, among those that the bit mask of a grammar allows."""
        number = self.seed + self.sampled * _STRIDE
        self.sampled += 1
        if allowed is None:
            return FIRST_TOKEN + number % TOKENS
        tokens = np.flatnonzero(np.unpackbits(np.asarray(allowed).view(np.uint8), bitorder="little"))
        return int(tokens[number % len(tokens)])


class _Pending(AsyncModelRunnerOutput):  # type: ignore[misc]
    """The output of a step that ends at `ready_at`, by time.monotonic()."""

    def __init__(self, output: ModelRunnerOutput, ready_at: float) -> None:
        self._output, self._ready_at = output, ready_at

    def get_output(self) -> ModelRunnerOutput:
        """Wait for the end of the step. vLLM does so in another thread, if it schedules the next step meanwhile."""
        if (left := self._ready_at - time.monotonic()) > 0:
            time.sleep(left)
        return self._output

    def get_kv_connector_output(self) -> None:
        """There is no connector. vLLM 0.33 asks for its output where a step fails."""


def _logprobs(requests: list[_Request], tokens: list[list[int]]) -> LogprobsLists | None:
    """Equal logprobs of as many candidates as any request wants; all candidates are the token itself."""
    wanted = [request.parameters.logprobs for request in requests]
    if all(number is None for number in wanted):
        return None
    width = 1 + max(number or 0 for number in wanted)
    flat = [token for each in tokens for token in each]
    firsts = np.cumsum([0, *map(len, tokens)])[:-1]
    return LogprobsLists(
        np.repeat(np.array(flat, dtype=np.int32)[:, None], width, axis=1),
        np.full((len(flat), width), _LOGPROB, dtype=np.float32),
        np.zeros(len(flat), dtype=np.int32),
        cu_num_generated_tokens=firsts.tolist(),
    )


def _prompt_logprobs(request: _Request) -> LogprobsTensors:
    """The same of a prompt, whose first token has none."""
    tokens = torch.tensor(request.prompt[1:], dtype=torch.int32)
    width = 1 + (request.parameters.prompt_logprobs or 0)
    return LogprobsTensors(
        tokens[:, None].repeat(1, width),
        torch.full((len(tokens), width), _LOGPROB),
        torch.zeros(len(tokens), dtype=torch.int32),
    )
