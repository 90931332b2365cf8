"""The order of the layers, which docs/structure.md draws, and what a change of the settings keeps."""

import asyncio
import re
from argparse import Namespace
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI
from starlette.responses import Response

from maritalk_vllm.api.flex_queue import FlexQueue
from maritalk_vllm.api.model_aliases import ModelNames
from maritalk_vllm.server.middleware.access_config import AccessConfig
from maritalk_vllm.server.middleware.in_flight import InFlightRequests
from maritalk_vllm.server.middleware.stack import MiddlewareStack, compose, engine_layers
from maritalk_vllm.server.status.server_state import Phase, ServerState
from maritalk_vllm.settings import TimeUnit
from tests.api.engine_loads import Load
from tests.counting import request_metrics

DOCUMENT = (Path(__file__).parents[3] / "docs" / "structure.md").read_text()


def layers(app: Any) -> list[str]:
    """The modules of the layers around an application, outermost first, as the document names them."""
    found = []
    while (module := type(app).__module__).startswith("maritalk_vllm."):
        found.append(module.removeprefix("maritalk_vllm.").replace(".", "/") + ".py")
        app = getattr(app, "_inner", None) or app._app
    return found


def api_process() -> list[str]:
    app, args = FastAPI(), Namespace(middleware=[], root_path="", enable_request_id_headers=False)
    inner = engine_layers(
        app,
        args,
        InFlightRequests(),
        ModelNames(["demo"]),
        context_length=10,
        max_characters=10,
        max_answers=None,
        flex=FlexQueue(Load(), lambda: 1),
    )
    stack = MiddlewareStack(
        compose(app, inner), AccessConfig(), ServerState(Phase.READY), TimeUnit.SECONDS, request_metrics()
    )
    return layers(stack._app)


async def ok(scope: Any, receive: Any, send: Any) -> None:
    await Response("ok")(scope, receive, send)


def test_layers_have_the_documented_order() -> None:
    """In the API process. `CloseConnections` is the loading server's, `FastPath` and what follows the API process's."""
    table = DOCUMENT.split("| layer | what it does |")[1].split("\n\n")[0]
    documented = re.findall(r"^\| `(\S+)`", table, re.MULTILINE)
    outermost, *others = documented
    assert outermost == "server/middleware/close_connections.py"
    assert api_process() == others


def test_the_loading_server_has_the_same_layers_without_those_of_the_engine() -> None:
    state = ServerState()
    loading = MiddlewareStack(ok, AccessConfig(), state, TimeUnit.SECONDS, request_metrics(), is_loading=True)
    assert layers(loading._app) == [
        "server/middleware/close_connections.py",
        *api_process()[: len(layers(loading._app)) - 1],
    ]
    assert layers(loading._app)[-1] == "server/middleware/body_limits.py"
    page = "playground/page_middleware.py"
    follower = MiddlewareStack(
        ok, AccessConfig(), state, TimeUnit.SECONDS, request_metrics(), is_loading=True, page=False
    )
    assert layers(follower._app) == [each for each in layers(loading._app) if each != page]


def test_only_while_loading_a_response_closes_its_connection() -> None:
    async def scenario() -> None:
        for is_loading in (False, True):
            stack = MiddlewareStack(
                ok, AccessConfig(), ServerState(), TimeUnit.SECONDS, request_metrics(), is_loading=is_loading
            )
            async with httpx.AsyncClient(transport=httpx.ASGITransport(stack), base_url="http://localhost") as client:
                for path in ("/", "/livez", "/chat"):
                    answer = await client.get(path)
                    assert (answer.headers.get("connection") == "close") is is_loading

    asyncio.run(scenario())


def test_layers_are_composed_outermost_first() -> None:
    from starlette.middleware import Middleware

    class Named:
        def __init__(self, app: Any, name: str, *, mark: str) -> None:
            self.text = f"{name}{mark}({getattr(app, 'text', 'app')})"

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            raise AssertionError

    composed = compose(ok, [Middleware(Named, "a", mark="!"), Middleware(Named, "b", mark="?")])
    assert isinstance(composed, Named)
    assert composed.text == "a!(b?(app))"
