"""vLLM's own `run-batch`, without the start of its engine in the measured time.

python -m benchmarks.run_batch DEVICE ENGINE_ARGUMENTS reads the paths of an input and an output file per line (JSON)
and answers each with the seconds that the batch took.
"""

import sys
import time
from argparse import Namespace

import uvloop

from maritalk_vllm.engine import vllm_launcher
from maritalk_vllm.settings import Device

from .parent_pipe import ParentPipe


def parse(arguments: list[str]) -> Namespace:
    """The arguments of `run-batch`: those of a server that it does not have are left out."""
    from vllm.entrypoints.launchers.run_batch import make_arg_parser
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    parser = make_arg_parser(FlexibleArgumentParser())
    known, _ = parser.parse_known_args(["-i", "", "-o", "", *arguments])
    return Namespace(**vars(known))


async def serve_files(args: Namespace, parent: ParentPipe) -> None:
    """Process the files that the parent names, until it closes the pipe."""
    from vllm.entrypoints.launchers.api_server.entry import build_async_engine_client
    from vllm.entrypoints.launchers.run_batch import run_batch
    from vllm.usage.usage_lib import UsageContext

    async with build_async_engine_client(args, usage_context=UsageContext.OPENAI_BATCH_RUNNER) as client:
        parent.send("ready")
        async for args.input_file, args.output_file in parent.messages():
            began = time.monotonic()
            await run_batch(client, args)
            parent.send(time.monotonic() - began)


if __name__ == "__main__":
    pipe = ParentPipe()
    vllm_launcher.preload(Device(sys.argv[1]))
    uvloop.run(serve_files(parse(sys.argv[2:]), pipe))
