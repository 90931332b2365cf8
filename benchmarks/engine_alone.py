"""The engine without a server, in the load generator's process: an upper bound for any server.

python -m benchmarks.engine_alone DEVICE ENGINE_ARGUMENTS reads one load per line (JSON) and answers each with a line.
"""

import dataclasses
import sys
import time
import uuid
from typing import TYPE_CHECKING, Any

import uvloop

from maritalk_vllm.engine import vllm_launcher
from maritalk_vllm.engine.step_watchdog import StepWatchdog
from maritalk_vllm.settings import Device
from maritalk_vllm.tools.bench import prompts
from maritalk_vllm.tools.bench.load_generator import run_closed_loop
from maritalk_vllm.tools.bench.request_result import RequestResult

from .parent_pipe import ParentPipe

if TYPE_CHECKING:
    from vllm.engine.protocol import EngineClient


async def ask(client: "EngineClient", prompt: str, max_tokens: int, *, streamed: bool) -> RequestResult:
    """Send one greedy request through AsyncLLM, with text output, whole or token by token."""
    from vllm.renderers.inputs.preprocess import parse_model_prompt
    from vllm.sampling_params import RequestOutputKind, SamplingParams

    kind = RequestOutputKind.DELTA if streamed else RequestOutputKind.FINAL_ONLY
    parameters = SamplingParams(temperature=0, max_tokens=max_tokens, output_kind=kind)
    began, texts_at, tokens, output = time.monotonic(), [], 0, None
    (rendered,) = await client.renderer.render_cmpl_async([parse_model_prompt(client.model_config, prompt)])
    async for output in client.generate(rendered, parameters, request_id=uuid.uuid4().hex):
        tokens += len(output.outputs[0].token_ids)
        if streamed and output.outputs[0].text:
            texts_at.append(time.monotonic())
    return RequestResult(
        began=began,
        ended=time.monotonic(),
        texts_at=tuple(texts_at),
        prompt_tokens=len(output.prompt_token_ids) if output else 0,
        completion_tokens=tokens,
    )


async def serve_loads(client: "EngineClient", parent: ParentPipe) -> None:
    """Run the loads that the parent sends, until it closes the pipe."""
    async for load_spec in parent.messages():
        make_prompt = getattr(prompts, load_spec["prompt"])

        async def send(number: int, spec: dict[str, Any] = load_spec, make: Any = make_prompt) -> RequestResult:  # noqa: ANN401
            return await ask(client, make(spec["first"] + number), spec["max_tokens"], streamed=spec["streamed"])

        run = await run_closed_loop(send, load_spec["users"], load_spec["requests"])
        parent.send({"seconds": run.seconds, "outcomes": [dataclasses.asdict(result) for result in run.results]})


def main() -> None:
    """The command line."""
    parent = ParentPipe()
    vllm_launcher.preload(Device(sys.argv[1]))
    args = vllm_launcher.parse(sys.argv[2:])
    with vllm_launcher.launch_engine(args) as engine:
        pass
    client = vllm_launcher.connect(args, StepWatchdog(), engine.addresses[0])
    parent.send("ready")
    try:
        uvloop.run(serve_loads(client, parent))
    finally:
        client.shutdown()
        engine.shutdown(timeout=3)


if __name__ == "__main__":
    main()
