"""The errors of the processes below the supervisor, as sentences."""

import signal
from pathlib import Path

from ...errors import EngineError
from ...i18n.message import Number, msg
from ..status.server_state import ServerState
from .process_messages import JobName


def see_log(log: Path) -> str:
    """The hint to vLLM's log."""
    return msg("vLLM's log says why: {log}", log=log)


def died(log: Path) -> EngineError:
    """The error of an engine that ended after it had been ready."""
    return EngineError("The engine died.", see_log(log))


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
