"""Resource limits of this process: open files, address space. Limits are only raised, never lowered."""

import contextlib
import resource
from collections.abc import Iterator

from ..errors import EngineError, UsageError
from ..i18n.message import msg
from ..text_format import gigabytes

MIN_DESCRIPTORS = 512
"""Enough for the server's own files and sockets and as many connections."""

_TARGET_DESCRIPTORS = 65_536
_SPARE_DESCRIPTORS = 256
"""Descriptors that a process needs besides its connections."""

_FEW_CONNECTIONS = 4096
"""With fewer, the server may reject some of a thousand users whose clients keep connections open."""

_TARGET_THREADS = 4096

_MEMORY = ((resource.RLIMIT_AS, "address space", "ulimit -v"), (resource.RLIMIT_DATA, "data", "ulimit -d"))


def raise_descriptors() -> None:
    """Raise the limit on open files as far as is useful and allowed. Processes started later inherit it.

    A process that serves calls this once, when it starts.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    target = raised_limit(soft, hard)
    if target != soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (target, hard))


def descriptors() -> int:
    """The limit on open files that `raise_descriptors` sets. Changes nothing."""
    return _finite(raised_limit(*resource.getrlimit(resource.RLIMIT_NOFILE)))


def current_descriptors() -> int:
    """The limit on open files as it is now."""
    return _finite(resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def _finite(limit: int) -> int:
    return limit if limit != resource.RLIM_INFINITY else _TARGET_DESCRIPTORS


def connections(descriptors: int, each: int = 1) -> int:
    """How many concurrent connections `descriptors` open files allow, if each connection needs `each` of them."""
    return max(1, (descriptors - _SPARE_DESCRIPTORS) // each)


def check() -> None:
    """Raises UsageError if the limit is so low that the server would reject every connection."""
    if (limit := descriptors()) < MIN_DESCRIPTORS:
        raise UsageError(
            msg(
                "This process may have {limit} open files, and the server needs at least {least}.",
                limit=limit,
                least=MIN_DESCRIPTORS,
            ),
            msg(
                "Raise the limit with `ulimit -n {number}`, LimitNOFILE of systemd or --ulimit of Docker.",
                number=_TARGET_DESCRIPTORS,
            ),
        )


def warnings() -> list[str]:
    """Sentences about what works less well, or may fail, because of a limit."""
    found: list[str] = []
    if MIN_DESCRIPTORS <= (limit := descriptors()) < _FEW_CONNECTIONS:
        found.append(
            msg(
                "at most {connections} connections at once, since this process may have {limit} open files. Raise the "
                "limit: ulimit -n {target}.",
                connections=connections(limit),
                limit=limit,
                target=_TARGET_DESCRIPTORS,
            )
        )
    for number, kind, command in _MEMORY:
        soft, _ = resource.getrlimit(number)
        if soft != resource.RLIM_INFINITY:
            found.append(
                msg(
                    "this process may have {size} of {kind}, and vLLM reserves much more than it uses. Lift the limit: "
                    "{command} unlimited.",
                    size=gigabytes(soft),
                    kind=kind,
                    command=command,
                )
            )
    return found


@contextlib.contextmanager
def as_errors() -> Iterator[None]:
    """Raise EngineError in place of the errors for too many threads or processes of this user."""
    try:
        yield
    except (RuntimeError, BlockingIOError) as error:
        if isinstance(error, RuntimeError) and "start new thread" not in str(error):
            raise
        raise EngineError(
            "This user may start no more threads or processes.",
            msg("Raise the limit: ulimit -u {number}.", number=_TARGET_THREADS),
        ) from error


def raised_limit(soft: int, hard: int) -> int:
    """The soft limit to set: bounded, because some programs iterate over all descriptors up to the limit."""
    if soft == resource.RLIM_INFINITY:
        return soft
    return max(soft, _TARGET_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _TARGET_DESCRIPTORS))
