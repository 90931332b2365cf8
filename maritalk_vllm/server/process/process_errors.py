"""The errors of the processes below the supervisor, as sentences."""

import contextlib
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from ...engine.startup_errors import explain_exit
from ...errors import EngineError, MariTalkError
from ...i18n.message import Number, msg, with_full_stop
from ..status.server_state import ServerState
from .async_tasks import run_in_background
from .process_messages import JobName


@contextlib.contextmanager
def start_errors() -> Iterator[None]:
    """Convert OSError to EngineError, as where the user's process limit is reached."""
    try:
        yield
    except OSError as error:
        raise EngineError(
            msg("The engine's process cannot be started: {reason}.", reason=error.strerror),
            "See the limits: ulimit -u and ulimit -v.",
        ) from error


def see_log(log: Path) -> str:
    """The hint to vLLM's log."""
    return msg("vLLM's log says why: {log}", log=log)


def died(log: Path) -> EngineError:
    """The error of an engine that ended after it had been ready."""
    return EngineError("The engine died.", see_log(log))


async def engine_exited(how: str, log: Path) -> MariTalkError:
    """The error of an engine that exited: `how`, during its start; empty if it was ready, or that is unknown."""
    if not how:
        return died(log)
    return await run_in_background(partial(explain_exit, log, how))  # it waits for the log


def exited(job: JobName, code: int, log: Path) -> EngineError:
    """The error of a forked process that ended with `code`; a negative one is that of a signal."""
    how = msg("ended with {code}", code=code)
    if code < 0:
        how = msg("was killed by {name}", name=signal.Signals(-code).name)
    return EngineError(msg("The process that was to {job} the model {how}.", job=job, how=how), see_log(log))


def api_hangs(limit_seconds: float, log: Path) -> EngineError:
    """The error of an API process without a heartbeat for `limit_seconds`."""
    limit = Number(limit_seconds, ".0f")
    return EngineError(msg("The API process hangs: it gave no sign of life for {limit} s.", limit=limit), see_log(log))


def api_replaced(reason: MariTalkError) -> str:
    """The sentence about one of several API processes that ended, and is replaced."""
    return msg(
        "One of the API processes ended, and is replaced; the others continue. {reason}",
        reason=with_full_stop(reason.message),
    )


def no_connection_left() -> EngineError:
    """The error of an engine to which no further API process can connect."""
    return EngineError("So many API processes have ended that the engine has to be started again.")


def fork_server_hangs(limit_seconds: float, log: Path) -> EngineError:
    """The error of a fork server that forks nothing within `limit_seconds`."""
    limit = Number(limit_seconds, ".0f")
    text = msg("The fork server hangs: it started no process within {seconds} s.", seconds=limit)
    return EngineError(text, see_log(log))


def late_start(limit_seconds: float, state: ServerState, log: Path) -> EngineError:
    """The error of a start that takes longer than `limit_seconds`, with the step that it has reached."""
    return EngineError(
        msg(
            'The engine did not start within {seconds} s: the step "{step}" took {taken} s of it.',
            seconds=Number(limit_seconds, ".0f"),
            step=state.step or "Starting its processes",
            taken=Number(state.step_seconds, ".0f"),
        ),
        msg("If it only needs longer, raise --start-timeout. Its log: {log}", log=log),
    )
