"""The decisions that are broken, how, and the tests that have to notice."""

from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]


class Mutation(NamedTuple):
    """In `file`, `old` becomes `new`: what the server then does is `why` that is wrong. `tests` are of tests/server."""

    why: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


_SUPERVISOR = "maritalk_vllm/server/supervisor.py"
_PROCESSES = "maritalk_vllm/server/process/engine_manager.py"
_BACKEND = "maritalk_vllm/server/process/api_process.py"
_RESTARTS = "maritalk_vllm/server/process/restart_policy.py"

_START = "test_stub_engine_start.py::test_requests_wait_while_a_stub_engine_loads"
_FAILED = "test_stub_engine_start.py::test_a_failed_start_of_a_stub_engine_reports_its_cause"
_STOPPED = "test_stub_engine_stop.py::test_a_stub_engine_is_stopped_at_any_moment"
_DIES = "test_stub_engine_restart.py::test_a_stub_engine_that_dies_is_restarted"
_TOO_OFTEN = "test_stub_engine_restart.py::test_a_stub_engine_that_dies_too_often_is_given_up"
_PAUSES = "test_stub_engine_restart.py::test_the_restart_delay_of_a_stub_engine_grows"
_HANGS = "test_stub_engine_restart.py::test_a_stub_engine_that_hangs_counts_as_dead"
_CONNECTIONS = "test_stub_engine_connections.py::test_restarts_and_stop_of_a_stub_engine_lose_no_connection"
_API = "test_stub_engine_restart.py::test_an_api_process_that_dies_or_hangs_is_replaced_with_its_stub_engine"
_DRAINS = "test_stub_engine_drain.py::test_a_draining_stub_engine_finishes_its_requests"
_OUT_OF_TIME = "test_stub_engine_drain.py::test_the_drain_timeout_of_a_stub_engine_aborts_the_rest"
_LATE = "test_stub_engine_deadline.py::test_a_stub_engine_that_hangs_while_starting_is_given_up"
_LATE_AGAIN = "test_stub_engine_deadline.py::test_a_restart_of_a_stub_engine_that_hangs_counts_as_failed"

MUTATIONS = (
    Mutation(
        "never restart",
        _SUPERVISOR,
        "return restarts.next_delay() if self._was_ready or isinstance(error, NodeLost) else None",
        "return None",
        (_DIES,),
    ),
    Mutation(
        "restart for ever",
        _RESTARTS,
        "if len(self._times) >= self._max_restarts:",
        "if False:",
        ("process/test_restart_policy.py", _TOO_OFTEN),
    ),
    Mutation(
        "count the restarts anew after each death",
        _SUPERVISOR,
        "        restarts = RestartPolicy(self._launch.settings.max_restarts)\n        while True:\n",
        "        while True:\n            restarts = RestartPolicy(self._launch.settings.max_restarts)\n",
        (_PAUSES, _TOO_OFTEN),
    ),
    Mutation(
        "restart at once, without a pause",
        _RESTARTS,
        "return _DELAYS[min(len(self._times), len(_DELAYS)) - 1]",
        "return 0.0",
        ("process/test_restart_policy.py", _PAUSES),
    ),
    Mutation(
        "do not wait for the pause",
        _SUPERVISOR,
        "await asyncio.sleep(delay)",
        "await asyncio.sleep(0)",
        (_PAUSES,),
    ),
    Mutation(
        "try again what never worked",
        _SUPERVISOR,
        "return restarts.next_delay() if self._was_ready or isinstance(error, NodeLost) else None",
        "return restarts.next_delay()",
        (_FAILED,),
    ),
    Mutation(
        "import anew for each restart",
        _SUPERVISOR,
        "if self._engine is None or not self._engine.fork_server_alive:",
        "if True:",
        (_DIES,),
    ),
    Mutation(
        "leave what a dead engine has leaked beside the next",
        _PROCESSES,
        "        self.kill_leftovers(*exclude)\n        await self._wait_for_exit_within(STOP_SECONDS)\n",
        "        await self._wait_for_exit_within(STOP_SECONDS)\n",
        ("test_stub_engine_restart.py::test_a_leaked_process_of_a_dead_stub_engine_ends_before_the_restart",),
    ),
    Mutation(
        "hand over too early",
        _SUPERVISOR,
        "        await engine.start_engine(agreed)\n",
        "        self._loading_server.hand_over(local_url(self._listener, self._scheme))\n"
        "        await engine.start_engine(agreed)\n",
        (_START,),
    ),
    Mutation(
        "do not pass on what waits",
        "maritalk_vllm/server/loading/loading_server.py",
        "self._apps.pop().engine_ready(url)",
        "self._apps.pop()",
        (_START,),
    ),
    Mutation(
        "answer nothing while the engine is started again",
        _SUPERVISOR,
        "        self._state.transition_to(Phase.LOADING)\n        self._loading_server.start()\n",
        "        self._state.transition_to(Phase.LOADING)\n",
        (_CONNECTIONS,),
    ),
    Mutation(
        "do not notice an engine that died",
        _BACKEND,
        "if vllm_launcher.is_dead(self._client):",
        "if False:",
        (_DIES,),
    ),
    Mutation(
        "do not notice an engine that hangs",
        _BACKEND,
        "if seconds > self._options.engine_timeout:",
        "if False:",
        (_HANGS,),
    ),
    Mutation(
        "do not notice an API process that hangs",
        _PROCESSES,
        "if heartbeat.silent_seconds > limit and",
        "if False and",
        (_API,),
    ),
    Mutation(
        "count the time in which the supervisor did not run",
        "maritalk_vllm/server/process/heartbeat.py",
        "min(now - self._updated, 2 * CHECK_SECONDS)",
        "now - self._updated",
        ("process/test_heartbeat.py", _API),
    ),
    Mutation(
        "close the port without a look at who waits at it",
        "maritalk_vllm/server/loading/loading_server.py",
        "not has_waiting(self._listener) and not self._has_incomplete_requests",
        "True",
        ("loading/test_loading_server.py",),
    ),
    Mutation(
        "lose the connections of an API process that ends",
        _BACKEND,
        "if each.waits and not self._transfer(each)]",
        "if False]",
        (_CONNECTIONS,),
    ),
    Mutation(
        "take an idle engine for one that hangs",
        "maritalk_vllm/engine/step_watchdog.py",
        "if not busy:",
        "if False:",
        (_HANGS,),
    ),
    Mutation(
        "do not drain",
        _BACKEND,
        "if not await self._drain(in_flight, generator):",
        "if True:",
        (_DRAINS,),
    ),
    Mutation(
        "end the engine before its requests",
        _SUPERVISOR,
        "                if self._engine is not None:\n                    await self._engine.stop(",
        "                process_tree.kill_descendants()\n"
        "                if self._engine is not None:\n                    await self._engine.stop(",
        (_DRAINS,),
    ),
    Mutation(
        "kill the API process instead of asking it to end",
        _PROCESSES,
        "os.kill(self._pid, signal.SIGTERM)",
        "os.kill(self._pid, signal.SIGKILL)",
        (_DRAINS,),
    ),
    Mutation(
        "take new requests while draining",
        _BACKEND,
        'in_flight.reject_new(_STOPPING, "draining")',
        "pass",
        (_DRAINS,),
    ),
    Mutation(
        "drain for longer than --drain-timeout",
        _BACKEND,
        "asyncio.get_running_loop().time() + self._options.drain_timeout",
        "asyncio.get_running_loop().time() + 1e6",
        (_OUT_OF_TIME,),
    ),
    Mutation(
        "do not hear the second signal",
        _SUPERVISOR,
        "if self._signal_count > 1:",
        "if False:",
        ("test_stub_engine_drain.py::test_a_second_signal_stops_a_draining_stub_engine_at_once",),
    ),
    Mutation(
        "do not handle SIGINT",
        "maritalk_vllm/stop_signals.py",
        "STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)",
        "STOP_SIGNALS = (signal.SIGTERM,)",
        (_STOPPED,),
    ),
    Mutation(
        "wait for ever for an API process that does not end",
        _PROCESSES,
        "                async with asyncio.timeout(seconds):\n",
        "                async with asyncio.timeout(None):\n",
        ("test_stub_engine_stop.py::test_a_stub_engine_that_does_not_exit_is_killed",),
    ),
    Mutation(
        "end with the wrong exit code",
        "maritalk_vllm/errors.py",
        "exit_code = 7",
        "exit_code = 1",
        (_FAILED,),
    ),
    Mutation(
        "end with 0 where the engine has failed",
        _SUPERVISOR,
        "                self._coordinator.end_epoch(error)\n                raise\n",
        "                self._coordinator.end_epoch(error)\n",
        (_FAILED,),
    ),
    Mutation(
        "swallow why a start has failed",
        _PROCESSES,
        "                    if failure is not None:\n                        raise failure\n",
        "",
        (_FAILED,),
    ),
    Mutation(
        "do not tell those who wait why a start has failed",
        _SUPERVISOR,
        "                self._loading_server.fail(error)\n",
        "",
        (_FAILED,),
    ),
    Mutation(
        "wait for ever for a start",
        _PROCESSES,
        "            if left <= 0:\n",
        "            if False:\n",
        (_LATE,),
    ),
    Mutation(
        "give up a server that is up after --start-timeout",
        "maritalk_vllm/server/process/start_deadline.py",
        "return math.inf if self._since is None else self._left",
        "return self._left if self._since is None else self._left",
        ("process/test_start_deadline.py",),
    ),
    Mutation(
        "fork from a process whose import hangs",
        _PROCESSES,
        "            self._fork_server.kill()\n        limit",
        "            pass\n        limit",
        (_LATE_AGAIN,),
    ),
    Mutation(
        "say that a start is late where its cause is known",
        _PROCESSES,
        "raise failure or late from late",
        "raise late",
        ("test_stub_engine_deadline.py::test_a_failed_stub_engine_that_does_not_exit_reports_its_cause",),
    ),
    Mutation(
        "serve on with a message that cannot be read",
        _BACKEND,
        "            self._abort_error = error\n            return\n",
        "            return\n",
        ("process/test_fork_server.py",),
    ),
    Mutation(
        "wait for a process whose message cannot be read",
        "maritalk_vllm/server/process/fork_server_client.py",
        "            self._kill_all(error)\n",
        "            pass\n",
        ("process/test_fork_server_client.py",),
    ),
    Mutation(
        "leave a dead fork server in the process table",
        "maritalk_vllm/server/process/fork_server_client.py",
        "        if self._own_pidfds:\n            _kill(self._process)\n",
        "",
        ("process/test_fork_server_client.py",),
    ),
    Mutation(
        "store what any host sends",
        "maritalk_vllm/server/cluster/node_messages.py",
        "HANDSHAKE_BYTES = 64 * 1024",
        "HANDSHAKE_BYTES = 64 << 20",
        ("cluster/test_node_messages.py",),
    ),
    Mutation(
        "reject the hello of a newer version before its version is compared",
        "maritalk_vllm/server/cluster/node_messages.py",
        'tag="hello", forbid_unknown_fields=False',
        'tag="hello"',
        ("cluster/test_node_versions.py", "cluster/test_node_messages.py"),
    ),
)
