"""Flags and environment of the engine."""

import itertools
import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given

from maritalk_vllm.engine import cpu_pipeline_worker
from maritalk_vllm.engine.environment import engine_environment, group_environment
from maritalk_vllm.engine.vllm_arguments import Rendezvous, engine_arguments
from maritalk_vllm.errors import MariTalkError, UsageError
from maritalk_vllm.hardware.inventory import Inventory
from maritalk_vllm.hardware.network import Route
from maritalk_vllm.planning.model_requirements import ModelRequirements
from maritalk_vllm.planning.plan import Plan
from maritalk_vllm.planning.planner import make_plan
from maritalk_vllm.settings import Device, DistributedBackend
from tests.hardware.test_cuda_host import executable, toolkit
from tests.planning.machines import cpu, hypothetical_machine, open_need, profile_need
from tests.planning.strategies import machines, model_requirements


def cuda(gpus: str, need: ModelRequirements) -> Plan:
    return make_plan(need, hypothetical_machine(gpus), Device.CUDA, Device.CUDA)


FOLDERS = (Path("/tmp/x"), Path("/tmp/cache"))
ON_CPU = make_plan(profile_need("demo"), cpu(), Device.CPU, Device.CPU)


def pairs(arguments: list[str]) -> dict[str, str]:
    return {flag: value for flag, value in itertools.pairwise(arguments) if flag.startswith("--")}


def test_flags_on_a_cpu() -> None:
    arguments = engine_arguments(ON_CPU, "demo", "/models/demo", ["--seed", "3"])
    assert arguments[:4] == ["--model", "/models/demo", "--served-model-name", "demo"]
    assert "--enforce-eager" in arguments
    assert pairs(arguments)["--kv-cache-memory-bytes"] == str(1 << 30)
    assert pairs(arguments)["--max-model-len"] == "8192"
    assert "--tensor-parallel-size" not in arguments
    assert arguments[-2:] == ["--seed", "3"]


def test_tool_call_parser_is_set_if_the_model_has_one() -> None:
    assert "--enable-auto-tool-choice" not in engine_arguments(ON_CPU, "m", "/m", [])
    flags = engine_arguments(ON_CPU, "m", "/m", [], "hermes")
    assert "--enable-auto-tool-choice" in flags
    assert pairs(flags)["--tool-call-parser"] == "hermes"


def test_chat_template_arguments_are_set_if_the_model_has_some() -> None:
    assert "--default-chat-template-kwargs" not in engine_arguments(ON_CPU, "m", "/m", [])
    flags = engine_arguments(ON_CPU, "m", "/m", [], None, {"enable_thinking": False})
    assert json.loads(pairs(flags)["--default-chat-template-kwargs"]) == {"enable_thinking": False}


@given(model_requirements(), machines())
def test_flags_have_the_values_of_every_plan(requirements: ModelRequirements, inventory: Inventory) -> None:
    try:
        plan = make_plan(requirements, inventory, Device.CUDA, Device.CUDA)
    except MariTalkError:
        return
    given = pairs(engine_arguments(plan, "name", "/model", []))
    for flag, size in (
        ("--tensor-parallel-size", plan.tensor_parallel_size),
        ("--pipeline-parallel-size", plan.pipeline_parallel_size),
        ("--data-parallel-size", plan.data_parallel_size),
    ):
        assert int(given.get(flag, 1)) == size
    assert given.get("--max-model-len") == (str(plan.max_model_len) if plan.length_known else None)
    assert float(given["--gpu-memory-utilization"]) == plan.gpu_memory_utilization


def test_flags_on_gpus() -> None:
    flags = pairs(engine_arguments(cuda("8xA10", profile_need("medium", replicas="auto")), "medium", "/m", []))
    assert flags["--tensor-parallel-size"] == "4"
    assert flags["--data-parallel-size"] == "2"
    assert flags["--gpu-memory-utilization"] == "0.92"
    assert "--pipeline-parallel-size" not in flags
    assert "--kv-cache-memory-bytes" not in flags
    assert (
        pairs(engine_arguments(cuda("3xA10", profile_need("medium")), "m", "/m", []))["--pipeline-parallel-size"] == "3"
    )


@pytest.mark.parametrize(
    "flag",
    [
        "--port",
        "--host=0",
        "--model",
        "--uds=/x",
        "--disable-log-stats",
        "--tensor-parallel-size=2",
        "--tensor_parallel_size",
        "-tp",
        "-dp",
        "--device-memory-utilization",
        "--max-model-len",
        "--nnodes",
        "-r",
        "--master-addr=10.0.0.1",
        "--headless",
        "--api-server-count=2",
        "-asc",
        "--numa-bind",
        "--numa_bind_nodes",
        "--numa-bind-cpus",
    ],
)
def test_reserved_flags_are_rejected(flag: str) -> None:
    with pytest.raises(UsageError):
        engine_arguments(ON_CPU, "demo", "/models/demo", [flag])


def test_flags_of_one_of_several_nodes() -> None:
    plan = cuda("4xA10", profile_need("medium", nodes=2))
    rendezvous = Rendezvous(1, "10.0.0.1", 29501, DistributedBackend.MP)
    flags = pairs(engine_arguments(plan, "medium", "/m", [], group=rendezvous))
    assert (flags["--tensor-parallel-size"], flags["--pipeline-parallel-size"]) == ("4", "2")
    assert (flags["--nnodes"], flags["--node-rank"]) == ("2", "1")
    assert (flags["--master-addr"], flags["--master-port"]) == ("10.0.0.1", "29501")
    assert flags["--distributed-executor-backend"] == "mp"
    assert "--worker-cls" not in flags
    ray_flags = pairs(
        engine_arguments(plan, "medium", "/m", [], group=replace(rendezvous, backend=DistributedBackend.RAY))
    )
    assert ray_flags["--distributed-executor-backend"] == "ray"
    assert "--nnodes" not in ray_flags


def test_cpu_uses_our_worker_class() -> None:
    two_nodes = make_plan(profile_need("demo", nodes=2), cpu(), Device.CPU, Device.CPU)
    for plan in (ON_CPU, two_nodes):
        assert pairs(engine_arguments(plan, "demo", "/m", []))["--worker-cls"] == cpu_pipeline_worker.NAME


def test_network_interface_of_a_group(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("VLLM_HOST_IP", "GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
        monkeypatch.delenv(name, raising=False)
    assert group_environment(Route("10.0.0.2", "eth1")) == {
        "VLLM_HOST_IP": "10.0.0.2",
        "GLOO_SOCKET_IFNAME": "eth1",
        "NCCL_SOCKET_IFNAME": "=eth1",
    }
    assert group_environment(Route("10.0.0.2", None)) == {"VLLM_HOST_IP": "10.0.0.2"}
    monkeypatch.setenv("NCCL_SOCKET_IFNAME", "ib0")
    assert "NCCL_SOCKET_IFNAME" not in group_environment(Route("10.0.0.2", "eth1"))


def test_environment_selects_the_gpus_of_the_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2")
    monkeypatch.setenv("MARITALK_LICENSE", "SECRET")
    plan = cuda("1xL4,4xA10", profile_need("medium"))
    environment = engine_environment(plan, *FOLDERS)
    assert environment["CUDA_VISIBLE_DEVICES"].split(",") == [gpu.uuid for gpu in plan.gpus]
    assert environment["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
    assert "SECRET" not in environment.values()


def test_the_api_process_waits_for_an_engine_as_long_as_it_loads() -> None:
    """A day and more: --start-timeout ends a start. vLLM takes the number times 1000 as a C int."""
    seconds = int(engine_environment(ON_CPU, *FOLDERS)["VLLM_ENGINE_READY_TIMEOUT_S"])
    assert 86_400 < seconds < 2**31 / 1000


def test_metrics_are_written_to_files_only_for_several_api_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", "/another")
    assert "PROMETHEUS_MULTIPROC_DIR" not in engine_environment(ON_CPU, *FOLDERS)
    folder = Path("/tmp/metrics")
    assert engine_environment(ON_CPU, *FOLDERS, folder)["PROMETHEUS_MULTIPROC_DIR"] == str(folder)


def test_openmp_busy_wait_is_short_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)
    assert engine_environment(ON_CPU, *FOLDERS)["GOMP_SPINCOUNT"] == "5000"
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    assert "GOMP_SPINCOUNT" not in engine_environment(ON_CPU, *FOLDERS)


def test_openmp_has_a_thread_for_each_core_of_a_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert "OMP_NUM_THREADS" not in engine_environment(ON_CPU, *FOLDERS)  # all cores, by default
    one_core = replace(ON_CPU, cores=((0,),))
    assert engine_environment(one_core, *FOLDERS)["OMP_NUM_THREADS"] == "1"
    two_workers = replace(ON_CPU, cores=((0, 1), (2, 3)), tensor_parallel_size=2)
    assert engine_environment(two_workers, *FOLDERS)["OMP_NUM_THREADS"] == "2"
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert engine_environment(one_core, *FOLDERS)["OMP_NUM_THREADS"] == "3"


def test_compile_cache_is_kept_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VLLM_CACHE_ROOT", raising=False)
    environment = engine_environment(cuda("1xA10", profile_need("small")), *FOLDERS)
    assert environment["VLLM_CACHE_ROOT"] == "/tmp/cache/vllm"
    monkeypatch.setenv("VLLM_CACHE_ROOT", "/mine")
    assert engine_environment(cuda("1xA10", profile_need("small")), *FOLDERS)["VLLM_CACHE_ROOT"] == "/mine"


def test_no_measurement_of_an_earlier_start_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would shrink the KV cache of later starts; a user may still ask for it."""
    monkeypatch.delenv("VLLM_ENABLE_STARTUP_PLAN", raising=False)
    plan = cuda("1xA10", profile_need("small"))
    assert "VLLM_ENABLE_STARTUP_PLAN" not in engine_environment(plan, *FOLDERS)
    monkeypatch.setenv("VLLM_ENABLE_STARTUP_PLAN", "1")
    assert engine_environment(plan, *FOLDERS)["VLLM_ENABLE_STARTUP_PLAN"] == "1"


def test_flashinfer_sampler_is_off_where_it_cannot_be_compiled(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("VLLM_USE_FLASHINFER_SAMPLER", "CUDA_HOME", "CUDA_PATH", "CPATH", "C_INCLUDE_PATH"):
        monkeypatch.delenv(name, raising=False)
    plan = cuda("1xA10", profile_need("small"))
    monkeypatch.setenv("CUDA_HOME", "/nowhere")
    assert engine_environment(plan, *FOLDERS)["VLLM_USE_FLASHINFER_SAMPLER"] == "0"
    assert "VLLM_USE_FLASHINFER_SAMPLER" not in engine_environment(ON_CPU, *FOLDERS)
    monkeypatch.setenv("VLLM_USE_FLASHINFER_SAMPLER", "1")
    assert engine_environment(plan, *FOLDERS)["VLLM_USE_FLASHINFER_SAMPLER"] == "1"
    monkeypatch.delenv("VLLM_USE_FLASHINFER_SAMPLER")
    monkeypatch.setenv("CUDA_HOME", str(toolkit(tmp_path / "cuda")))
    monkeypatch.setenv("PATH", str(executable(tmp_path / "tools/ninja").parent))
    assert "VLLM_USE_FLASHINFER_SAMPLER" not in engine_environment(plan, *FOLDERS)


def test_size_of_fused_all_reduces_is_passed_where_gpus_share_a_layer() -> None:
    hopper = cuda("4xH100-80GB", profile_need("medium", tensor_parallel_size=4))
    flags = engine_arguments(hopper, "medium", "/m", ["-cc", '{"mode": 3}'])
    assert flags[-2:] == ["-cc", '{"mode": 3, "pass_config": {"fi_allreduce_fusion_max_size_mb": 2}}']
    alone = cuda("1xH100-80GB", profile_need("small"))
    assert "--compilation-config" not in engine_arguments(alone, "small", "/m", [])
    ampere = cuda("4xA10", profile_need("medium"))
    assert "--compilation-config" not in engine_arguments(ampere, "medium", "/m", [])


def test_attention_backend_is_passed_if_there_is_one() -> None:
    plan = cuda("1xA10", profile_need("small"))
    assert "--attention-backend" not in engine_arguments(plan, "small", "/m", [])
    assert pairs(engine_arguments(plan, "small", "/m", [], attention_backend="FLASH_ATTN"))["--attention-backend"] == (
        "FLASH_ATTN"
    )


def test_cpu_workers_are_bound_to_their_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VLLM_CPU_OMP_THREADS_BIND", raising=False)
    plan = make_plan(open_need(1, tensor_parallel_size=2), cpu(64, cores=4), Device.CPU, Device.CPU)
    assert engine_environment(plan, *FOLDERS)["VLLM_CPU_OMP_THREADS_BIND"] == "0,1|2,3"
    assert "VLLM_CPU_OMP_THREADS_BIND" not in engine_environment(ON_CPU, *FOLDERS)
    monkeypatch.setenv("VLLM_CPU_OMP_THREADS_BIND", "nobind")
    assert engine_environment(plan, *FOLDERS)["VLLM_CPU_OMP_THREADS_BIND"] == "nobind"
