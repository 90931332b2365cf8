"""The engine with no server around it, in one process with the load: the limit of what any server can reach.

python -m benchmarks.engine_alone DEVICE ENGINE_ARGUMENTS reads loads (JSON), a line each, and answers each with a line.
"""

import asyncio
import dataclasses
import json
import os
import sys
import time
import uuid
from typing import TYPE_CHECKING, Any

import uvloop

from maritalk_vllm.engine import vllm_launcher
from maritalk_vllm.engine.step_watchdog import StepWatchdog
from maritalk_vllm.settings import Device
from maritalk_vllm.tools.bench import prompts
from maritalk_vllm.tools.bench.load_generator import closed
from maritalk_vllm.tools.bench.request_result import RequestResult

if TYPE_CHECKING:
    from vllm.engine.protocol import EngineClient


async def ask(client: "EngineClient", prompt: str, max_tokens: int, *, streamed: bool) -> RequestResult:
    """One request through AsyncLLM: greedy, its text wanted, as a whole or token by token."""
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


async def obey(client: "EngineClient") -> None:
    """Loads from stdin until it ends."""
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        order: dict[str, Any] = json.loads(line)
        make = getattr(prompts, order["prompt"])

        async def one(number: int, order: dict[str, Any] = order, make: Any = make) -> RequestResult:  # noqa: ANN401
            prompt = make(order["first"] + number)
            return await ask(client, prompt, order["max_tokens"], streamed=order["streamed"])

        run = await closed(one, order["users"], order["requests"])
        tell({"seconds": run.seconds, "outcomes": [dataclasses.asdict(outcome) for outcome in run.outcomes]})


def tell(answer: object) -> None:
    """To whoever started us: vLLM writes to stdout too, so that theirs is another descriptor."""
    os.write(ANSWERS, json.dumps(answer).encode() + b"\n")


def main() -> None:
    """The command line."""
    vllm_launcher.preload(Device(sys.argv[1]))
    client = vllm_launcher.start_engine(vllm_launcher.parse(sys.argv[2:]), StepWatchdog())
    tell("ready")
    try:
        uvloop.run(obey(client))
    finally:
        client.shutdown(timeout=3)


if __name__ == "__main__":
    ANSWERS = os.dup(1)
    os.dup2(2, 1)
    main()
