"""A plugin that adds our routes to vLLM's own server: `VLLM_PLUGINS=maritalk vllm serve MODEL`."""

import os
from argparse import Namespace
from typing import TYPE_CHECKING

from ..engine.generator import Generator
from ..settings import Settings, TimeUnit, environment_variable
from . import cloud, local
from .model_aliases import ModelNames

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.datastructures import State
    from vllm.engine.protocol import EngineClient


class MariTalkPlugin:
    """Implements vLLM's `vllm.endpoint_plugins` interface (0.32 and 0.33). Our own server uses it too."""

    name = "maritalk"
    required_tasks = ("generate",)

    def __init__(self, time_unit: TimeUnit | None = None) -> None:
        """`time_unit` defaults to the environment variable: vLLM creates plugins without arguments."""
        given = os.environ.get(environment_variable("time_unit"))
        self._time_unit = time_unit or (TimeUnit(given) if given else Settings().time_unit)

    def attach_router(self, app: "FastAPI") -> None:
        """Add our routes to vLLM's application."""
        app.include_router(local.router)
        app.include_router(cloud.router)

    async def init_state(self, engine_client: "EngineClient | None", state: "State", args: Namespace) -> None:
        """Store the generator, model names and time unit for our routes in `state`."""
        if engine_client is None:
            raise ValueError("the MariTalk routes need an engine")
        state.maritalk_generator = Generator(engine_client, args.chat_template, args.default_chat_template_kwargs)
        state.maritalk_names = ModelNames(args.served_model_name or [args.model])
        state.maritalk_time_unit = self._time_unit
