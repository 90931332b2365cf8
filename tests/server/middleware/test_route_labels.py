"""Which routes of vLLM's application are offered: listed ones, and those of the user's plugins."""

from collections.abc import Callable

import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from maritalk_vllm.server.middleware.route_labels import is_offered


def endpoint(module: str) -> Callable[[Request], Response]:
    def answer(request: Request) -> Response:
        raise AssertionError

    answer.__module__ = module
    return answer


def vllm_route(path: str) -> BaseRoute:
    return Route(path, endpoint("vllm.entrypoints.serve.somewhere"))


@pytest.mark.parametrize(
    "path", ["/v1/completions", "/v1/messages/count_tokens", "/tokenize", "/docs", "/version", "/health"]
)
def test_listed_routes_of_vllm_are_offered(path: str) -> None:
    assert is_offered(vllm_route(path))


@pytest.mark.parametrize(
    "path", ["/load", "/scale_elastic_ep", "/reset_prefix_cache", "/sleep", "/v1/responses/{response_id}", "/new", "/"]
)
def test_other_routes_of_vllm_are_not_offered(path: str) -> None:
    assert not is_offered(vllm_route(path))
    assert not is_offered(Route("/invocations", endpoint("model_hosting_container_standards.common")))


def test_routes_of_plugins_and_of_the_framework_are_offered() -> None:
    assert is_offered(Route("/of/a/plugin", endpoint("plugin_of_the_user.routes")))
    assert is_offered(Route("/openapi.json", endpoint("fastapi.applications")))
    assert is_offered(Mount("/metrics", routes=[]))
    assert not is_offered(Mount("/elsewhere", routes=[]))


class PluginApp:
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        raise AssertionError


class VllmApp(PluginApp):
    __module__ = "vllm.entrypoints.somewhere"


def application(module: str) -> FastAPI:
    app = FastAPI()
    app.add_api_route("/health", endpoint(module), response_model=None)
    return app


@pytest.mark.parametrize("wrapped", [lambda app: app, lambda app: Starlette(routes=[Mount("/more", app)])])
def test_mounted_applications(wrapped: Callable[[ASGIApp], ASGIApp]) -> None:
    for app in (PluginApp(), application("plugin_of_the_user.routes"), StaticFiles(directory="/")):
        assert is_offered(Mount("/of/a/plugin", wrapped(app)))
    for app in (VllmApp(), application("vllm.entrypoints.serve.somewhere")):
        assert not is_offered(Mount("/elsewhere", wrapped(app)))
