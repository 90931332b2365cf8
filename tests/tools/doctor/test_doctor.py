"""`maritalk-vllm doctor`: each problem is detected on a machine that has it."""

import json
import os
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from maritalk_vllm.engine.torch_build import TorchBuild
from maritalk_vllm.errors import EngineError
from maritalk_vllm.hardware.cuda_host import CudaHost
from maritalk_vllm.hardware.gpu import Driver
from maritalk_vllm.hardware.gpu_catalog import hypothetical_machine
from maritalk_vllm.hardware.host import host
from maritalk_vllm.hardware.inventory import Inventory
from maritalk_vllm.licensing.entitlement import EVALUATION_KEY
from maritalk_vllm.settings import Device
from maritalk_vllm.tools.doctor import hardware_checks
from maritalk_vllm.tools.doctor.check import Check, Status
from maritalk_vllm.tools.doctor.check_runner import exit_code
from tests.commands import run
from tests.hardware.fleet import environment, gpus, links
from tests.hardware.test_cuda_host import BARE, COMPLETE
from tests.models.files import model
from tests.serving import UNREACHABLE_URL, free_port
from tests.vllm_build import needs_cpu_build

OLD_KEY = ("--license", "AAAAA-BBBBB-CCCCC-DDDDD", "--license-service", UNREACHABLE_URL)
LICENSED = ["--license", EVALUATION_KEY]


def doctor(*arguments: str | Path, env: dict[str, str] | None = None) -> tuple[int, list[dict[str, Any]]]:
    port = [] if "--port" in arguments else ["--port", str(free_port())]
    result = run("maritalk-vllm", "doctor", "--json", *arguments, *port, env=env)
    assert result.stderr == ""
    found = json.loads(result.stdout)
    assert found["exit_code"] == result.returncode
    return result.returncode, found["checks"]


def messages_of(checks: list[dict[str, Any]], status: str) -> str:
    return "\n".join(
        f"{check['name']}: {check['message']} {check['hint']}" for check in checks if check["status"] == status
    )


@needs_cpu_build
def test_machine_that_can_serve() -> None:
    code, checks = doctor(*LICENSED)
    assert code == 0
    assert messages_of(checks, "problem") == ""
    names = {check["name"] for check in checks}
    assert {"vllm", "driver", "processor", "memory", "shared memory", "open files", "threads"} <= names
    assert {"licence", "weights", "disk", "plan", "port"} <= names
    assert {check["status"] for check in checks} <= set(Status)


@needs_cpu_build
@pytest.mark.parametrize(
    ("arguments", "code", "problem"),
    [
        ([], 2, "model: No licence and no model were given."),
        (["--license", "AAAAA"], 3, "model: This licence key cannot be checked"),
        ([*LICENSED, "--model", "small"], 3, "This licence is for demo, not for small"),
        ([*LICENSED, "--device", "cuda"], 4, "plan: SmolLM2-135M-Instruct cannot be served on a GPU here"),
        ([*LICENSED, "--tensor-parallel-size", "2"], 5, "plan: SmolLM2-135M-Instruct cannot be split"),
        (["--model", "."], 6, "holds no model: it has no config.json"),
        ([*LICENSED, "--cache-dir", "/proc/nothing"], 2, "files: /proc/nothing cannot be written to"),
        ([*LICENSED, "--nodes", "2"], 2, "nodes: --nodes 2 needs --head"),
        (
            [*LICENSED, "--nodes", "2", "--head", "192.0.2.1"],
            2,
            "nodes: --head 192.0.2.1 is not an address of this machine",
        ),
        ([*LICENSED, "--host", "192.0.2.1"], 8, "port: The server cannot listen on 192.0.2.1"),
    ],
)
def test_problem_and_exit_code(arguments: list[str], code: int, problem: str) -> None:
    found, checks = doctor(*arguments)
    assert found == code
    assert problem in messages_of(checks, "problem")


@needs_cpu_build
def test_without_a_licence_and_a_model_the_demo_model_is_checked() -> None:
    """The start would fail all the same."""
    code, checks = doctor()
    assert code == 2
    assert messages_of(checks, "problem").startswith("model: No licence and no model were given.")
    assert "model: The checks below are of the demo model." in messages_of(checks, "warning")
    assert {"licence", "weights", "disk", "plan", "port"} <= {check["name"] for check in checks}


@needs_cpu_build
@pytest.mark.parametrize("license", [[], [*OLD_KEY]])
def test_the_demo_model_by_its_name_needs_no_licence(license: list[str]) -> None:
    code, checks = doctor("--model", "demo", *license)
    assert code == 0
    assert "licence: demo is an open model and needs none." in messages_of(checks, "ok")
    assert "licence" not in messages_of(checks, "warning")


def server_below_a_free_port() -> socket.socket:
    """Nodes use the port after the one that they are given."""
    while True:
        server = socket.create_server(("0.0.0.0", 0))
        try:
            socket.create_server(("0.0.0.0", server.getsockname()[1] + 1)).close()
        except (OSError, OverflowError):
            server.close()
        else:
            return server


@needs_cpu_build
def test_node_of_a_group() -> None:
    group = ("--nodes", "2", "--head", "127.0.0.1:{}")
    with server_below_a_free_port() as other:
        port = other.getsockname()[1]
        _, checks = doctor(*LICENSED, *(word.format(port) for word in group))
        assert "nodes: Node 0 of 2, at 127.0.0.1." in messages_of(checks, "ok")
        code, checks = doctor(*LICENSED, *(word.format(port - 1) for word in group))
        assert code == 8
        assert f", process {os.getpid()}. Choose another PORT with --head" in messages_of(checks, "problem")
        _, checks = doctor(*LICENSED, *(word.format(port) for word in group), "--node-rank", "1")
        assert "nodes: Node 1 of 2: from 127.0.0.1 to node 0 at 127.0.0.1." in messages_of(checks, "ok")


@needs_cpu_build
def test_a_port_in_use() -> None:
    with socket.create_server(("0.0.0.0", 0)) as other:
        code, checks = doctor(*LICENSED, "--port", str(other.getsockname()[1]))
    assert code == 8
    assert "is in use" in messages_of(checks, "problem")


@needs_cpu_build
def test_damaged_weights_file(tmp_path: Path) -> None:
    folder = model(tmp_path / "model", {"lm_head.weight": ("BF16", [128, 64])})
    (folder / "model.safetensors").write_bytes(b"short")
    code, checks = doctor("--model", folder)
    assert code == 6
    assert "model.safetensors is damaged or cut off" in messages_of(checks, "problem")


@needs_cpu_build
def test_each_problem_is_reported_once() -> None:
    with socket.create_server(("0.0.0.0", 0)) as other:
        code, checks = doctor("--model", ".", "--port", str(other.getsockname()[1]))
    problems = messages_of(checks, "problem").splitlines()
    assert len(problems) == len(set(problems)) == 2
    assert code == 6


@needs_cpu_build
def test_gpus_of_a_machine(nvml_library: Path) -> None:
    fleet = (
        gpus("A10", "T4", "A10", "A10")
        + links(4, "30")
        + "process 2 compute 4711 9000000000 /usr/bin/python3\nerror nvmlDeviceGetMemoryInfo 15 3\n"
    )
    code, checks = doctor(*LICENSED, env=environment(nvml_library, fleet, CUDA_VISIBLE_DEVICES="0,1,2"))
    assert code == 0
    assert "driver: NVIDIA driver 570.86.15, NVML answers." in messages_of(checks, "ok")
    assert "cuda: CUDA 12.8" in messages_of(checks, "ok")
    assert "gpu 0: GPU 0 (NVIDIA A10): 23.6 GB of 24.1 GB free, compute capability 8.6." in messages_of(checks, "ok")
    warnings = messages_of(checks, "warning")
    assert "gpu 1: GPU 1 (Tesla T4)" in warnings and "too old" in warnings
    assert "python3 (process 4711) holds 9.0 GB of GPU 2 (NVIDIA A10)" in warnings
    assert "GPU 3 cannot be used: it has fallen off the bus" in warnings
    assert "links: 3 GPUs, the weakest link between two is the same processor." in warnings
    assert "counts GPUs of different kinds" in warnings


@pytest.mark.parametrize("error", [999, 18])
def test_a_driver_that_does_not_answer(nvml_library: Path, error: int) -> None:
    code, checks = doctor(*LICENSED, env=environment(nvml_library, f"error nvmlInitWithFlags {error}\n"))
    assert code == 4
    assert "driver: The NVIDIA driver" in messages_of(checks, "problem")


@pytest.mark.parametrize(
    ("installed", "requested", "status"),
    [
        (Device.CUDA, Device.AUTO, Status.PROBLEM),
        (Device.CUDA, Device.CUDA, Status.PROBLEM),
        (Device.CUDA, Device.CPU, Status.WARNING),  # the plan says that this build does not run on a CPU
        (Device.CPU, Device.AUTO, Status.WARNING),
        (None, Device.AUTO, Status.WARNING),
    ],
)
def test_a_missing_driver_is_a_problem_of_the_cuda_build(
    installed: Device | None, requested: Device, status: Status
) -> None:
    absent = Inventory((), None, absent="it is not installed", absent_hint="Install it.")
    (check,) = hardware_checks.check_driver(absent, installed, requested)
    assert check.status is status
    assert check.message.startswith("No NVIDIA driver: it is not installed; ")
    assert (check.exit_code, check.hint) == ((4, "Install it.") if status is Status.PROBLEM else (0, ""))


DRIVER = Driver("570.86.15", (12, 8))
CUDA_12 = TorchBuild("2.13.0+cu126", (12, 6))


def cuda_host_checks(host: CudaHost, *gpus: str, torch: TorchBuild = CUDA_12) -> list[Check]:
    machine = replace(hypothetical_machine(",".join(gpus or ["A10"])), driver=DRIVER)
    return list(hardware_checks.check_cuda_host(machine, host, torch))


def test_a_host_that_compiles_everything() -> None:
    checks = cuda_host_checks(COMPLETE)
    assert {check.status for check in checks} == {Status.OK}
    assert [check.name for check in checks] == ["torch", "compiler", "flashinfer"]
    assert checks[0].message == "torch 2.13.0+cu126, for CUDA 12.6."


def test_a_host_without_a_toolkit_is_warned() -> None:
    check = cuda_host_checks(BARE)[-1]
    assert check.status is Status.WARNING
    assert "(nvcc, curand.h, ninja is missing)" in check.message
    assert check.hint == ""
    assert "vllm download-kernels" in cuda_host_checks(BARE, "B200")[-1].hint


def test_all_problems_of_a_host_are_shown_and_counted_once() -> None:
    host = replace(COMPLETE, has_libcuda=False, has_c_compiler=False, has_python_headers=False)
    checks = cuda_host_checks(host, torch=TorchBuild("2.13.0+cu130", (13, 0)))
    problems = [(check.name, check.exit_code) for check in checks if check.status is Status.PROBLEM]
    assert problems == [("libcuda", 4), ("cuda", 4), ("compiler", 7), ("compiler", 7)]
    assert [check.name for check in checks if check.status is Status.OK] == ["flashinfer"]


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        (802, "CUDA cannot be initialized (error 802): the NVSwitch that connects the GPUs is not initialized"),
        (999, "CUDA cannot be initialized (error 999): CUDA could not be initialized, and the driver does not say"),
        (2, "CUDA cannot be initialized, by error 2 of the driver."),
    ],
)
def test_an_error_of_the_driver_is_explained(code: int, problem: str) -> None:
    (check,) = hardware_checks.check_cuda_init(code)
    assert (check.status, check.exit_code) == (Status.PROBLEM, 4)
    assert check.message.startswith(problem)
    assert bool(check.hint) == (code != 2)


def test_a_driver_without_an_error_is_no_problem() -> None:
    assert [check.status for check in hardware_checks.check_cuda_init(0)] == [Status.OK]
    assert list(hardware_checks.check_cuda_init(None)) == []


@pytest.mark.parametrize(("features", "says"), [({"avx2"}, "float32"), ({"avx2", "amx_bf16"}, "bfloat16 is fast")])
def test_processor(features: set[str], says: str) -> None:
    seen = Inventory((), replace(host(), cpu_features=frozenset(features)))
    assert says in next(hardware_checks.check_processor(seen, Device.CPU)).message
    assert list(hardware_checks.check_processor(seen, Device.CUDA)) == []


def test_processor_too_old() -> None:
    seen = Inventory((), replace(host(), cpu_features=frozenset({"sse4_2"})))
    with pytest.raises(EngineError, match="AVX2"):
        list(hardware_checks.check_processor(seen, Device.CPU))


def test_exit_code_is_that_of_the_first_problem() -> None:
    fine, odd = Check.ok("a", ""), Check.warning("b", "")
    assert exit_code([fine, odd]) == 0
    assert exit_code([fine, Check("c", Status.PROBLEM, "", "", 6), Check("d", Status.PROBLEM, "", "", 8)]) == 6


@needs_cpu_build
def test_text_output() -> None:
    result = run("maritalk-vllm", "doctor", *LICENSED, "--port", free_port(), "--device", "cuda")
    assert result.returncode == 4
    assert "✓ vllm" in result.stdout
    assert "✗ plan" in result.stdout
    assert "Serve it on the CPU with --device cpu." in result.stdout
