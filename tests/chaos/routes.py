"""Print every route of the served application, vLLM's and ours, as JSON pairs of path and method.

It is run in a process of its own, since it imports vllm: python -m tests.chaos.routes FOLDER_OF_THE_MODEL
"""

import json
import sys
from argparse import Namespace

from starlette.routing import Mount, Route, WebSocketRoute

from maritalk_vllm.api.vllm_plugin import MariTalkPlugin
from maritalk_vllm.engine import vllm_launcher


def main(model: str) -> None:
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.entrypoints.launchers.app import build_app

    args: Namespace = vllm_launcher.parse(["--model", model, "--enable-offline-docs"])
    config = AsyncEngineArgs.from_cli_args(args).create_engine_config()
    app = build_app(args, ("generate",), config.model_config)
    MariTalkPlugin().attach_router(app)
    found = []
    for route in app.routes:
        match route:
            case Route():
                found += [[route.path, method] for method in sorted(route.methods or {"GET"})]
            case Mount():
                found += [[f"{route.path}/", "GET"], [f"{route.path}/anything", "GET"]]
            case WebSocketRoute():
                found.append([route.path, "WEBSOCKET"])
            case _:
                found.append([str(getattr(route, "path", route)), "GET"])
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1])
