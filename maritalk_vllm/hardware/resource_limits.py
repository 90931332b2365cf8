"""What the system lets this process have: open files, address space. Limits are raised here, and never lowered."""

import contextlib
import resource
from collections.abc import Iterator

from ..errors import EngineError, UsageError
from ..text_format import gigabytes

LEAST_DESCRIPTORS = 512
"""The server's own files and sockets, and as many connections."""

_WANTED_DESCRIPTORS = 65_536
_SPARE_DESCRIPTORS = 256
"""What a process opens beside its connections."""

_FEW_CONNECTIONS = 4096
"""With fewer, a thousand users whose clients keep connections open may be turned away."""

_WANTED_THREADS = 4096

_MEMORY = ((resource.RLIMIT_AS, "address space", "ulimit -v"), (resource.RLIMIT_DATA, "data", "ulimit -d"))


def raise_descriptors() -> int:
    """Raise the limit on open files as far as is useful and allowed; what it is now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = reachable(soft, hard)
    if wanted != soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted if wanted != resource.RLIM_INFINITY else _WANTED_DESCRIPTORS


def descriptors() -> int:
    """What `raise_descriptors` comes to; nothing is changed."""
    most = reachable(*resource.getrlimit(resource.RLIMIT_NOFILE))
    return most if most != resource.RLIM_INFINITY else _WANTED_DESCRIPTORS


def connections(descriptors: int, each: int = 1) -> int:
    """How many connections a process takes at once, of so many open files, if each needs so many of them."""
    return max(1, (descriptors - _SPARE_DESCRIPTORS) // each)


def check() -> None:
    """Raises UsageError where the server would reject every connection."""
    if (most := descriptors()) < LEAST_DESCRIPTORS:
        raise UsageError(
            f"This process may have {most} open files, and the server needs at least {LEAST_DESCRIPTORS}.",
            f"Raise the limit with `ulimit -n {_WANTED_DESCRIPTORS}`, LimitNOFILE of systemd or --ulimit of Docker.",
        )


def warnings() -> list[str]:
    """What works less well, or may fail, because of a limit."""
    found = []
    if LEAST_DESCRIPTORS <= (most := descriptors()) < _FEW_CONNECTIONS:
        found.append(
            f"at most {connections(most)} connections at once, since this process may have {most} open files. "
            f"Raise the limit: ulimit -n {_WANTED_DESCRIPTORS}."
        )
    for number, kind, command in _MEMORY:
        soft, _ = resource.getrlimit(number)
        if soft != resource.RLIM_INFINITY:
            found.append(
                f"this process may have {gigabytes(soft)} of {kind}, and vLLM reserves much more than it uses. "
                f"Lift the limit: {command} unlimited."
            )
    return found


@contextlib.contextmanager
def as_errors() -> Iterator[None]:
    """Raises EngineError where the system starts no more threads or processes for this user."""
    try:
        yield
    except (RuntimeError, BlockingIOError) as error:
        if isinstance(error, RuntimeError) and "start new thread" not in str(error):
            raise
        raise EngineError(
            "This user may start no more threads or processes.", f"Raise the limit: ulimit -u {_WANTED_THREADS}."
        ) from error


def reachable(soft: int, hard: int) -> int:
    """The soft limit as it can be: no more than is useful, since some programs walk through all numbers up to it."""
    if soft == resource.RLIM_INFINITY:
        return soft
    return max(soft, _WANTED_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _WANTED_DESCRIPTORS))
