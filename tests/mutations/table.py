"""The decisions that are broken, how, and the tests that have to notice."""

from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]


class Mutation(NamedTuple):
    """In `file`, `old` becomes `new`. `why` describes the fault that this causes. `tests` are files of tests/server."""

    why: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


_SUPERVISOR = "maritalk_vllm/server/supervisor.py"
_CYCLE = "maritalk_vllm/server/engine_cycle.py"
_SUCCESSOR = "maritalk_vllm/server/successor_start.py"
_SUCCESSION = "maritalk_vllm/server/process/engine_succession.py"
_PROCESSES = "maritalk_vllm/server/process/engine_manager.py"
_EVENTS = "maritalk_vllm/server/process/process_events.py"
_BACKEND = "maritalk_vllm/server/process/api_process.py"
_LINK = "maritalk_vllm/server/process/engine_link.py"
_API_PROCESSES = "maritalk_vllm/server/process/api_processes.py"
_LIFECYCLE = "maritalk_vllm/server/lifecycle.py"
_IN_FLIGHT = "maritalk_vllm/server/middleware/in_flight.py"

_TABLE = "test_lifecycle.py"
_START = "test_stub_engine_start.py::test_requests_wait_while_a_stub_engine_loads"
_FAILED = "test_stub_engine_start.py::test_a_failed_start_of_a_stub_engine_reports_its_cause"
_STOPPED = "test_stub_engine_stop.py::test_a_stub_engine_is_stopped_at_any_moment"
_SHORTENED = "test_stub_engine_start.py::test_a_start_with_too_long_a_context_is_repeated_with_what_fits"
_DIES = "test_stub_engine_restart.py::test_a_stub_engine_that_dies_is_restarted"
_RESUMED = "test_stub_engine_resume.py::test_a_request_is_finished_by_the_next_stub_engine"
_PAUSES = "test_stub_engine_restart.py::test_the_restart_delay_of_a_stub_engine_grows"
_HANGS = "test_stub_engine_restart.py::test_a_stub_engine_that_hangs_counts_as_dead"
_CONNECTIONS = "test_stub_engine_connections.py::test_restarts_and_stop_of_a_stub_engine_lose_no_connection"
_ONE_OF_TWO = "test_stub_engine_api_processes.py::test_an_api_process_that_dies_loses_only_its_own_connections"
_API = "test_stub_engine_restart.py::test_an_api_process_that_dies_or_hangs_is_replaced_with_its_stub_engine"
_DRAINS = "test_stub_engine_drain.py::test_a_draining_stub_engine_finishes_its_requests"
_OUT_OF_TIME = "test_stub_engine_drain.py::test_the_drain_timeout_of_a_stub_engine_aborts_the_rest"
_LATE = "test_stub_engine_deadline.py::test_a_stub_engine_that_hangs_while_starting_is_stopped"
_LATE_AGAIN = "test_stub_engine_deadline.py::test_a_restart_of_a_stub_engine_that_hangs_counts_as_failed"
_NODES = "test_stub_engine_nodes.py"
_RESTS = "test_stub_engine_restart.py::test_the_supervisor_answers_while_it_waits_for_the_rest_of_a_stub_engine"
_SECOND_SIGNAL = "test_stub_engine_stop.py::test_the_supervisor_answers_while_a_second_signal_kills_a_stub_engine"

_RELOADED = "test_stub_engine_reload.py::test_a_reload_under_load_refuses_and_loses_no_request"
_FILES = "test_stub_engine_model_files.py::test_a_reload_loads_changed_files_of_the_model"
_RETURNED = "test_stub_engine_reload.py::test_the_old_engine_is_started_again_if_the_next_one_fails"
_TAKEOVER = "test_stub_engine_takeover.py"
_TAKES_OVER = f"{_TAKEOVER}::test_an_engine_takes_over_under_load_without_a_pause"
_FINISHES = f"{_TAKEOVER}::test_the_server_is_ready_throughout_and_the_old_engine_finishes_its_requests"

MUTATIONS = (
    Mutation(
        "refuse requests while the engine is replaced",
        _BACKEND,
        "            if self._retirement is not None:  # requests",
        "            if False:  # requests",
        (_RELOADED,),
    ),
    Mutation(
        "keep requests for an engine with other settings",
        _EVENTS,
        "can_wait = self._api.is_serving and not self._api.is_ending",
        "can_wait = self._api.is_serving",
        ("test_stub_engine_reload.py::test_an_api_process_that_hangs_while_its_engine_is_replaced_is_killed_with_it",),
    ),
    Mutation(
        "count a replacement as a restart",
        "maritalk_vllm/server/status/startup_timings.py",
        """        self.restarts += 1
        self.begin_again()

    def begin_again(self) -> None:
        \"\"\"Start the timings again.\"\"\"
""",
        """        self.begin_again()

    def begin_again(self) -> None:
        \"\"\"Start the timings again.\"\"\"
        self.restarts += 1
""",
        (_RELOADED,),
    ),
    Mutation(
        "give up when the new engine fails",
        _LIFECYCLE,
        "        case Replacement.STARTED:\n",
        "        case _ if False:\n",
        (_TABLE, _RETURNED),
    ),
    Mutation(
        "start the engine that failed again in place of the old one",
        "maritalk_vllm/server/process/config_reload.py",
        "self.launch = self._with_current_options(self._predecessor)",
        "self.launch = self._with_current_options(self.launch)",
        ("process/test_config_reload.py", _RETURNED),
    ),
    Mutation(
        "take changed files of the model for the same",
        "maritalk_vllm/server/process/config_reload.py",
        "        if not names:\n",
        "        if names:\n",
        ("process/test_config_reload.py", _FILES),
    ),
    Mutation(
        "have a reload wait for a disk of the model that hangs",
        "maritalk_vllm/server/process/maintenance.py",
        "files = await _within(_MODEL_CHECK_SECONDS, loaded.again)",
        "files = await run_in_background(loaded.again)",
        ("process/test_maintenance.py",),
    ),
    Mutation(
        "forget at a restart which files the API process has read",
        "maritalk_vllm/server/process/config_reload.py",
        "data_dir=launch.data_dir, files=launch.files or again.files)",
        "data_dir=launch.data_dir)",
        ("process/test_config_reload.py",),
    ),
    Mutation(
        "plan the next engine without the memory of the one that runs",
        "maritalk_vllm/server/startup/launch.py",
        "resolve_successor=partial(decide, inventory=inventory)",
        "resolve_successor=partial(decide)",
        ("process/test_config_reload.py",),
    ),
    Mutation(
        "choose a model's variant again when it was downloaded",
        "maritalk_vllm/server/startup/launch.py",
        "resolve_again=partial(decide, check=check, variant=variant)",
        "resolve_again=partial(decide, check=check)",
        ("startup/test_variant_choice.py",),
    ),
    Mutation(
        "take the chosen variant for what the user asked for",
        "maritalk_vllm/server/startup/launch.py",
        "settings=asked,",
        "settings=settings,",
        ("startup/test_variant_choice.py",),
    ),
    Mutation(
        "choose a variant although a flag is for the model in 16 bits",
        "maritalk_vllm/server/startup/variant_choice.py",
        "None if _FLAGS_OF_A_CHECKPOINT.intersection(read_flags(settings.engine_args)) else entry",
        "entry",
        ("startup/test_variant_choice.py",),
    ),
    Mutation(
        "forget a reload during a start",
        _CYCLE,
        "        self._successor.decide()  #",
        "        #",
        ("test_stub_engine_reload.py::test_a_reload_during_a_replacement_is_applied_after_it",),
    ),
    Mutation(
        "start a second engine without the memory for it",
        "maritalk_vllm/server/process/engine_room.py",
        "_host_bytes(plan, running) <= available_bytes()",
        "True",
        ("process/test_engine_room.py", _RELOADED),
    ),
    Mutation(
        "forget the memory that the engine that runs has not used yet",
        "maritalk_vllm/server/process/engine_room.py",
        "growth = 0 if running.gpus else running.memory.kv_cache_bytes",
        "growth = 0",
        ("process/test_engine_room.py",),
    ),
    Mutation(
        "use the GPU of the engine that runs although another one is free",
        "maritalk_vllm/server/process/config_reload.py",
        "return other if other.plan.is_as_good_as(successor.plan) and",
        "return successor if other.plan.is_as_good_as(successor.plan) and",
        ("process/test_config_reload.py",),
    ),
    Mutation(
        "have one of several API processes of a successor serve before the others can",
        _API_PROCESSES,
        "self._wait = wait",
        "self._wait = False",
        (f"{_TAKEOVER}::test_no_client_reaches_a_successor_before_all_of_it_is_ready",),
    ),
    Mutation(
        "lose the connections of an engine that is taken over from",
        "maritalk_vllm/server/process/connection_relay.py",
        "if self.successor is not None and self.successor.adopt(connection):",
        "if False:",
        (_TAKES_OVER,),
    ),
    Mutation(
        "end a retired API process before the requests on connections that cannot be passed on",
        _BACKEND,
        "not server.expects_requests:",
        "not server.server_state.has_pending:",
        ("test_stub_engine_tls.py::test_a_request_that_is_sent_slowly_during_a_replacement_is_answered",),
    ),
    Mutation(
        "report a server as draining whose next engine serves",
        _BACKEND,
        "if self._retirement is None or not self._retirement.is_succeeded:",
        "if True:",
        (_FINISHES,),
    ),
    Mutation(
        "kill an engine that finishes its requests when the next one dies",
        _CYCLE,
        "spared_sessions=self._engines.other_sessions",
        "spared_sessions=()",
        (_FINISHES,),
    ),
    Mutation(
        "start a successor again when another file changes",
        _SUCCESSOR,
        "successor is not None and successor is not self._launch",
        "successor is not None",
        (f"{_TAKEOVER}::test_other_options_are_applied_while_a_successor_starts",),
    ),
    Mutation(
        "let a successor take over that a later reload has withdrawn",
        _SUCCESSOR,
        "if successor is None and self._launch is not None:",
        "if False:",
        (f"{_TAKEOVER}::test_a_later_reload_replaces_or_withdraws_a_successor",),
    ),
    Mutation(
        "start two engines again after the first has died of it",
        _LIFECYCLE,
        "ReplacementDecided() if not state.died_beside_successor:",
        "ReplacementDecided():",
        (_TABLE, f"{_TAKEOVER}::test_an_engine_that_dies_beside_its_successor_is_restarted_and_then_replaced"),
    ),
    Mutation(
        "report no successor that fails",
        "maritalk_vllm/server/process/config_reload.py",
        "        self.successor = None\n        self._rejected[self._reason] = error.message\n",
        "        self.successor = None\n",
        (f"{_TAKEOVER}::test_a_successor_that_does_not_start_changes_nothing",),
    ),
    Mutation(
        "kill the processes of all engines with those of one",
        "maritalk_vllm/server/process/process_tree.py",
        "if _session_of(each) in sessions}",
        "}",
        ("process/test_process_tree.py",),
    ),
    Mutation(
        "never restart",
        _LIFECYCLE,
        "return _DELAYS[min(recent, len(_DELAYS) - 1)]",
        "return None",
        (_TABLE,),
    ),
    Mutation(
        "shorten the context again and again",
        _LIFECYCLE,
        "stage=Stage.PENDING, may_shorten=False), again",
        "stage=Stage.PENDING), again",
        (_TABLE,),
    ),
    Mutation(
        "compute all lines of a batch again after a kill",
        "maritalk_vllm/batches/batch_results.py",
        "        for index in (*self._output.done, *self._errors.done):",
        "        for index in ():",
        ("test_stub_engine_batches.py",),
    ),
    Mutation(
        "take the answer of a server that stops for the result of a line",
        "maritalk_vllm/batches/line_client.py",
        "is_final = exchange.status not in _RETRIED or bool(context.reason)",
        "is_final = True",
        ("test_stub_engine_batches.py",),
    ),
    Mutation(
        "let batches use any number of tokens",
        "maritalk_vllm/batches/batch_service.py",
        "is_valid_key(owner) and budget.has_tokens(owner)",
        "is_valid_key(owner)",
        ("test_stub_engine_batches.py::test_batches_have_tokens_of_their_own",),
    ),
    Mutation(
        "fill the engine with lines beside the requests of another API process",
        "maritalk_vllm/batches/batch_worker.py",
        "max(0, load.unfinished - load.lines)",
        "0",
        ("test_stub_engine_api_processes.py::test_lines_of_batches_make_room_for_the_requests_of_all_api_processes",),
    ),
    Mutation(
        "shorten a context that clients know",
        _LIFECYCLE,
        "state.may_shorten and not state.was_ready and length",
        "state.may_shorten and length",
        (_TABLE,),
    ),
    Mutation(
        "start again with the length that did not fit",
        _CYCLE,
        "self.shortened or agreed",
        "agreed",
        (_SHORTENED,),
    ),
    Mutation(
        "restart forever",
        _LIFECYCLE,
        " or recent >= state.max_restarts:",
        ":",
        (_TABLE,),
    ),
    Mutation(
        "reset the restart count after each death",
        _LIFECYCLE,
        "restarts=(*recent, now)",
        "restarts=(now,)",
        (_TABLE,),
    ),
    Mutation(
        "count restarts forever",
        _LIFECYCLE,
        "if time > now - WINDOW_SECONDS)",
        "if True)",
        (_TABLE,),
    ),
    Mutation(
        "restart at once, without a delay",
        _LIFECYCLE,
        "return _DELAYS[min(recent, len(_DELAYS) - 1)]",
        "return 0.0",
        (_TABLE,),
    ),
    Mutation(
        "try again what never worked",
        _LIFECYCLE,
        "if not (state.was_ready or isinstance(cause, NodeLost)) or recent",
        "if recent",
        (_TABLE,),
    ),
    Mutation(
        "do not try again a first start that lost a node",
        _LIFECYCLE,
        "not (state.was_ready or isinstance(cause, NodeLost))",
        "not state.was_ready",
        (_TABLE,),
    ),
    Mutation(
        "start again with a wrong flag",
        _LIFECYCLE,
        "if not state.was_ready:",
        "if False:",
        (_TABLE,),
    ),
    Mutation(
        "give up a server for a full disk",
        _LIFECYCLE,
        "if not state.was_ready:",
        "if True:",
        (_TABLE,),
    ),
    Mutation(
        "limit the restarts of a follower",
        _LIFECYCLE,
        "    if state.is_follower:\n        # The leader",
        "    if False:\n        # The leader",
        (_TABLE,),
    ),
    Mutation(
        "restart a follower that was never in the group",
        _LIFECYCLE,
        "return 0.0 if state.nodes_joined else None",
        "return 0.0",
        (_TABLE,),
    ),
    Mutation(
        "do not say how often a server was restarted",
        _LIFECYCLE,
        "if not state.was_ready or not state.max_restarts:",
        "if True:",
        (_TABLE,),
    ),
    Mutation(
        "decide to answer nothing while the engine is started again",
        _LIFECYCLE,
        "    if not state.api_serves:\n",
        "    if False:\n",
        (_TABLE,),
    ),
    Mutation(
        "hold requests for a lost node",
        _LIFECYCLE,
        "        if isinstance(cause, NodeLost):\n            actions",
        "        if False:\n            actions",
        (_TABLE,),
    ),
    Mutation(
        "hold requests while a lost node is missing",
        _LIFECYCLE,
        "NodesMissing(missing) if state.nodes_joined and not state.api_serves:",
        "NodesMissing(missing) if False:",
        (_TABLE,),
    ),
    Mutation(
        "reject requests while a first start waits for nodes",
        _LIFECYCLE,
        "NodesMissing(missing) if state.nodes_joined and",
        "NodesMissing(missing) if",
        (_TABLE,),
    ),
    Mutation(
        "reject requests when all nodes are connected again",
        _LIFECYCLE,
        "nodes_joined=True), (HoldRequests(),)",
        "nodes_joined=True), ()",
        (_TABLE,),
    ),
    Mutation(
        "hand over to a follower's workers",
        _LIFECYCLE,
        "    if state.is_follower:\n        return AnnounceFollower()\n",
        "",
        (_TABLE,),
    ),
    Mutation(
        "do not abort the requests of an engine that lost a node",
        _LIFECYCLE,
        "abort_requests = has_requests and not api_serves and not state.is_follower",
        "abort_requests = False",
        (_TABLE,),
    ),
    Mutation(
        "abort the requests of an API process that answers them itself",
        _LIFECYCLE,
        "abort_requests = has_requests and not api_serves and not",
        "abort_requests = not api_serves and not",
        (_TABLE,),
    ),
    Mutation(
        "start after a stop",
        _LIFECYCLE,
        "case Stage.PENDING, StartDue():",
        "case Stage.PENDING | Stage.DRAINING, StartDue():",
        (_TABLE,),
    ),
    Mutation(
        "become ready after a stop",
        _LIFECYCLE,
        "case Stage.LOADING, EngineReady():",
        "case Stage.LOADING | Stage.DRAINING, EngineReady():",
        (_TABLE,),
    ),
    Mutation(
        "restart after a stop",
        _LIFECYCLE,
        "case Stage.CLEARING, EngineCleared(cause):",
        "case Stage.CLEARING | Stage.DRAINING, EngineCleared(cause):",
        (_TABLE,),
    ),
    Mutation(
        "do not decide to kill at the second signal",
        _LIFECYCLE,
        "    if state.stop_requested:\n",
        "    if False:\n",
        (_TABLE,),
    ),
    Mutation(
        "drain a server that has failed",
        _LIFECYCLE,
        "    if state.stage is Stage.FAILED:\n",
        "    if False:\n",
        (_TABLE,),
    ),
    Mutation(
        "import again for each restart",
        _SUCCESSION,
        "if self.current is None or not self.current.fork_server_alive:",
        "if True:",
        (_DIES,),
    ),
    Mutation(
        "answer nothing while the engine is started again",
        _SUPERVISOR,
        "            case actions.ReclaimPort():\n                self._loading_server.start()\n",
        "            case actions.ReclaimPort():\n                pass\n",
        (_CONNECTIONS,),
    ),
    Mutation(
        "end the engine before its requests",
        _SUPERVISOR,
        "        await self._engines.stop(",
        "        process_tree.kill_descendants()\n        await self._engines.stop(",
        (_DRAINS,),
    ),
    Mutation(
        "do not kill at the second signal",
        _SUPERVISOR,
        'threading.Thread(target=process_tree.kill_descendants, name="kill", daemon=True).start()',
        "pass",
        ("test_stub_engine_drain.py::test_a_second_signal_stops_a_draining_stub_engine_at_once",),
    ),
    Mutation(
        "end with 0 where the engine has failed",
        _SUPERVISOR,
        "                raise error\n",
        "",
        (_FAILED,),
    ),
    Mutation(
        "answer waiting requests without the cause of a failed start",
        _SUPERVISOR,
        "                self._loading_server.fail(error)\n",
        "",
        (_FAILED,),
    ),
    Mutation(
        "do not wait for the restart delay",
        _CYCLE,
        "await asyncio.sleep(delay)",
        "await asyncio.sleep(0)",
        (_PAUSES,),
    ),
    Mutation(
        "leave what a dead engine has leaked beside the next",
        _PROCESSES,
        "await run_in_background("
        "partial(process_tree.kill_engine, self._folder, *pids, spared_sessions=spared_sessions))",
        "pass",
        ("test_stub_engine_restart.py::test_a_leaked_process_of_a_dead_stub_engine_ends_before_the_restart",),
    ),
    Mutation(
        "hand over too early",
        _CYCLE,
        "        await engine.start_engine(agreed)\n",
        "        self._handle(events.EngineReady())\n        await engine.start_engine(agreed)\n",
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
        "do not end the requests of an engine that died, without --resume-requests",
        _LINK,
        "if self._is_final or (",
        "if False or (",
        (_DIES,),
    ),
    Mutation(
        "let the port go while the API process waits for the next engine",
        _LIFECYCLE,
        "    if not state.api_serves:\n",
        "    if True:\n",
        (_TABLE,),
    ),
    Mutation(
        "hand the port over to an API process that has it",
        _LIFECYCLE,
        "AnnounceRestarted() if state.api_serves else HandOver",
        "HandOver",
        (_TABLE,),
    ),
    Mutation(
        "keep the requests of an API process that leaves",
        _LIFECYCLE,
        "api_serves=api_serves and state.stage is not Stage.LEAVING",
        "api_serves=api_serves",
        (_TABLE,),
    ),
    Mutation(
        "forget an API process that another fork server cannot give an engine",
        _CYCLE,
        "            await self._end_api_without_fork_server()\n",
        "",
        ("test_stub_engine_files.py::test_files_that_become_unusable_do_not_stop_the_server",),
    ),
    Mutation(
        "take the end of an engine that was killed for that of the next",
        _PROCESSES,
        "        await self._events.handle_until(lambda: not self._events.is_forking, STOP_SECONDS)\n",
        "",
        (_PAUSES,),
    ),
    Mutation(
        "kill the API process with the remains of an engine",
        _PROCESSES,
        "kept = set(self._api.serving_pids.values()) if self.keeps_requests else set()",
        "kept = set()",
        (_RESUMED,),
    ),
    Mutation(
        "keep the requests without --resume-requests",
        _EVENTS,
        "return self.launch.settings.resume_requests and",
        "return",
        (_DIES,),
    ),
    Mutation(
        "submit a request forever that kills engines",
        "maritalk_vllm/engine/resilient_core.py",
        "if submission.deaths >= MAX_DEATHS:",
        "if False:",
        ("test_stub_engine_resume.py::test_a_request_that_kills_stub_engines_is_given_up",),
    ),
    Mutation(
        "generate all tokens again that were sent",
        "maritalk_vllm/engine/resilient_core.py",
        "parameters.max_tokens -= len(received)",
        "pass",
        (_RESUMED,),
    ),
    Mutation(
        "have requests wait for the next engine without a limit",
        _LINK,
        "        link.expire(options.resume_timeout)\n",
        "",
        ("test_stub_engine_resume.py::test_requests_wait_for_the_next_stub_engine_no_longer_than_the_limit",),
    ),
    Mutation(
        "do not notice the end of an API process while a node is lost",
        _CYCLE,
        "if self._api_serves():  # it may end while a lost node is missing",
        "if False:",
        (f"{_NODES}::test_an_api_process_that_dies_while_a_node_of_stub_engines_is_lost_is_replaced",),
    ),
    Mutation(
        "reject requests for a lost node that an API process could finish",
        _LIFECYCLE,
        "if state.nodes_joined and not state.api_serves:",
        "if state.nodes_joined:",
        (_TABLE,),
    ),
    Mutation(
        "do not notice an engine that hangs",
        _LINK,
        "if seconds > limit and",
        "if False and",
        (_HANGS,),
    ),
    Mutation(
        "do not derive from the engine's steps when it hangs",
        "maritalk_vllm/engine/step_watchdog.py",
        "return self._times.limit_seconds",
        "return 300.0",
        ("test_stub_engine_resume.py::test_a_request_of_a_hanging_stub_engine_is_finished_by_the_next",),
    ),
    Mutation(
        "do not notice an API process that hangs",
        "maritalk_vllm/server/process/api_watchdog.py",
        "elif heartbeat.silent_seconds > limit and",
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
        "maritalk_vllm/server/process/api_server.py",
        "if each.waits and not self._transfer(each)]",
        "if False]",
        (_CONNECTIONS,),
    ),
    Mutation(
        "end the other API processes with the one that died",
        _API_PROCESSES,
        "return bool(self._pids) if self.is_ending else self.is_serving",
        "return False",
        (_ONE_OF_TWO,),
    ),
    Mutation(
        "leave the requests of a dead API process in the engine",
        _API_PROCESSES,
        "            self.send(AbortClient(client))\n            self._dead_clients[index] = client\n",
        "            pass\n",
        (_ONE_OF_TWO,),
    ),
    Mutation(
        "count the answers of a dead API process forever",
        _API_PROCESSES,
        "self._memory.clear(index)",
        "pass",
        ("test_stub_engine_api_processes.py::test_the_answers_of_a_key_are_counted_over_all_api_processes",),
    ),
    Mutation(
        "give each API process the whole limit of a key",
        "maritalk_vllm/server/middleware/stack.py",
        "Usage(None, None, shared_usage)",
        "Usage(None, None)",
        ("test_stub_engine_api_processes.py::test_a_limit_of_a_key_holds_over_all_api_processes",),
    ),
    Mutation(
        "answer with the metrics of one API process",
        _BACKEND,
        "if self._job.api_processes == 1 else",
        "if True else",
        ("test_stub_engine_api_processes.py::test_metrics_are_the_sum_over_all_api_processes_and_do_not_decrease",),
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
        "if not await self._drain(server, in_flight, generator):",
        "if True:",
        (_DRAINS,),
    ),
    Mutation(
        "kill the API process instead of asking it to end",
        _API_PROCESSES,
        "_kill(pid, signal.SIGTERM)",
        "_kill(pid, signal.SIGKILL)",
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
        "do not handle SIGINT",
        "maritalk_vllm/stop_signals.py",
        "STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)",
        "STOP_SIGNALS = (signal.SIGTERM,)",
        (_STOPPED,),
    ),
    Mutation(
        "wait forever for an API process that does not end",
        _EVENTS,
        "            async with asyncio.timeout(seconds):\n",
        "            async with asyncio.timeout(None):\n",
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
        "swallow why a start has failed",
        _EVENTS,
        "if (failure := self._take_failure()) is not None:",
        "if False:",
        (_FAILED,),
    ),
    Mutation(
        "wait forever for a start",
        "maritalk_vllm/server/process/start_progress.py",
        "            if left <= 0:\n",
        "            if False:\n",
        (_LATE,),
    ),
    Mutation(
        "replace the warm-up by the last step of vLLM's log",
        "maritalk_vllm/server/process/start_progress.py",
        "if step is not None and step != self._log_step:",
        "if step is not None:",
        ("process/test_start_progress.py",),
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
        _EVENTS,
        "                self._fork_server.kill()\n            raise self._progress",
        "                pass\n            raise self._progress",
        (_LATE_AGAIN,),
    ),
    Mutation(
        "say that a start is late where its cause is known",
        _EVENTS,
        "raise self._take_failure() or late from late",
        "raise late",
        ("test_stub_engine_deadline.py::test_a_failed_stub_engine_that_does_not_exit_reports_its_cause",),
    ),
    Mutation(
        "wait in the event loop for the rest of an engine",
        _PROCESSES,
        "await run_in_background("
        "partial(process_tree.kill_engine, self._folder, *pids, spared_sessions=spared_sessions))",
        "process_tree.kill_engine(self._folder, *pids, spared_sessions=spared_sessions)",
        (_RESTS,),
    ),
    Mutation(
        "wait in the event loop after a second signal",
        _SUPERVISOR,
        'threading.Thread(target=process_tree.kill_descendants, name="kill", daemon=True).start()',
        "process_tree.kill_descendants()",
        (_SECOND_SIGNAL,),
    ),
    Mutation(
        "forward more held requests at once than vLLM's queue has room for",
        "maritalk_vllm/server/loading/engine_proxy.py",
        "max_connections=MAX_CONNECTIONS",
        "max_connections=None",
        ("loading/test_engine_proxy.py",),
    ),
    Mutation(
        "keep a connection open while another process takes the port over",
        "maritalk_vllm/server/middleware/stack.py",
        "_only(self._is_loading, Middleware(CloseConnections))",
        "_only(False, Middleware(CloseConnections))",
        ("middleware/test_stack.py",),
    ),
    Mutation(
        "do not cancel an aborted request in the engine",
        _IN_FLIGHT,
        "            self._cancellation.cancel()\n            self._deadline",
        "            self._deadline",
        ("middleware/test_in_flight.py",),
    ),
    Mutation(
        "wait for an application that ignores its abort",
        _IN_FLIGHT,
        "call_later(_CANCEL_SECONDS, self._abandon_application)",
        "call_later(3600, self._abandon_application)",
        ("middleware/test_in_flight.py",),
    ),
    Mutation(
        "let the error of a cancelled application replace that of the abort",
        _IN_FLIGHT,
        "            if self._error is None:\n                raise\n",
        "            raise\n",
        ("middleware/test_in_flight.py",),
    ),
    Mutation(
        "serve on with a message that cannot be read",
        _BACKEND,
        "do not serve on without it.\n            self._link.abort_error = error\n",
        "do not serve on without it.\n",
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
        "leave processes that vLLM spawns to themselves when the supervisor is killed",
        "maritalk_vllm/server/process/process_tree.py",
        "    set_parent_death_signal(int(os.environ[_PARENT]))\n",
        "",
        ("process/test_process_tree.py",),
    ),
    Mutation(
        "tie a process that vLLM spawns to the parent of its parent",
        "maritalk_vllm/server/process/process_tree.py",
        "    os.environ[_PARENT] = str(os.getpid())\n    inherit_on_fork()\n",
        "    inherit_on_fork()\n",
        ("process/test_process_tree.py",),
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
    Mutation(
        "start while a dead engine still holds the memory",
        "maritalk_vllm/server/process/gpu_memory.py",
        "gpu.memory_free_bytes >= share * gpu.memory_total_bytes",
        "True",
        ("process/test_gpu_memory.py",),
    ),
    Mutation(
        "wait forever for a GPU's memory",
        "maritalk_vllm/server/process/gpu_memory.py",
        "asyncio.timeout(seconds)",
        "asyncio.timeout(None)",
        ("process/test_gpu_memory.py::test_the_wait_is_bounded_even_if_the_driver_hangs",),
    ),
    Mutation(
        "start on a driver that is too old for torch",
        "maritalk_vllm/server/startup/cuda_checks.py",
        "0 < driver.cuda_version[0] < torch.cuda[0]",
        "driver.cuda_version[0] < 0",
        ("startup/test_cuda_checks.py",),
    ),
    Mutation(
        "start without what compiles kernels",
        "maritalk_vllm/server/startup/cuda_checks.py",
        "if not host.has_c_compiler:",
        "if False:",
        ("startup/test_cuda_checks.py",),
    ),
)
