"""The jobs of the processes that are forked for an engine, and the options that may change while they serve."""

import socket

from ...engine.engine_address import EngineAddress
from ..cluster.node_messages import Agreement
from ..startup.launch import Launch
from ..status.server_state import ServerState
from ..status.startup_timings import StartupTimings
from .descriptors import Descriptor, InheritedDescriptor
from .process_messages import RunEngine, RunFollower, Serve, ServingOptions, UpdateOptions


class EngineJobs:
    """The jobs of one start. `environment`: variables beside those of the fork server."""

    def __init__(
        self, launch: Launch, listener: socket.socket, environment: dict[str, str], agreement: Agreement
    ) -> None:
        self._launch = launch
        self._listener = InheritedDescriptor(listener.fileno())
        self._environment = environment
        # The leader's context length: it may have a little less free memory than this node, or more.
        context = agreement.max_model_len
        agreed = [] if context is None else ["--max-model-len", str(context)]
        self._engine_args = [*launch.engine_args, *agreed]

    def run(self, addresses: int) -> RunEngine:
        """Run the engine, with a number of addresses for API processes."""
        return RunEngine(
            engine_args=self._engine_args,
            environment=self._environment,
            listener=self._listener,
            log=self._launch.settings.engine_log,
            api_processes=self._launch.api_processes,
            addresses=addresses,
        )

    def run_follower(self) -> RunFollower:
        """Run a follower's workers."""
        return RunFollower(
            engine_args=self._engine_args,
            environment=self._environment,
            listener=self._listener,
            log=self._launch.settings.engine_log,
        )

    def serve(
        self,
        index: int,
        engine: EngineAddress,
        control_channel: Descriptor,
        shared_memory: Descriptor | None,
        timings: StartupTimings,
        state: ServerState,
        *,
        waits: bool,
    ) -> Serve:
        """Serve the engine at an address, as the API process `index`, which `waits` for OpenPort."""
        return Serve(
            index=index,
            api_processes=self._launch.api_processes,
            shared_memory=shared_memory,
            engine_args=self._engine_args,
            environment=self._environment,
            listener=self._listener,
            control_channel=control_channel,
            engine=engine,
            time_unit=self._launch.settings.time_unit,
            is_demo=self._launch.source.is_demo,
            data_dir=self._launch.data_dir,
            timings=timings,
            log=self._launch.settings.engine_log,
            options=serving_options(self._launch, state),
            waits=waits,
        )


def update_options(launch: Launch, state: ServerState) -> UpdateOptions:
    """The message with which a reloaded launch reaches the API processes."""
    return UpdateOptions(serving_options(launch, state))


def serving_options(launch: Launch, state: ServerState) -> ServingOptions:
    """The options of an API process that may change while it serves."""
    return ServingOptions(
        access=launch.access,
        file_problems=state.files,
        reloads=state.reloads,
        not_applied=state.not_applied,
        drain_timeout=launch.settings.drain_timeout,
        engine_timeout=launch.settings.engine_timeout,
        batch_retention=launch.settings.batch_retention_seconds,
        files_per_key_bytes=launch.settings.files_per_key_bytes,
        flex_timeout=launch.settings.flex_timeout,
        resume_timeout=launch.settings.resume_timeout,
    )
