"""Waits for a child process without blocking the event loop."""

import asyncio
import os
import subprocess


async def wait_for_exit(process: "subprocess.Popen[bytes]") -> int:
    """Wait until `process` has exited, and return its exit code as `Popen.wait` does.

    Neither a thread nor asyncio's child watcher takes part: either would compete with psutil for the exit status.
    """
    if process.poll() is None:
        try:
            pidfd = os.pidfd_open(process.pid)
        except ProcessLookupError:  # a thread has killed and reaped it meanwhile
            return process.wait()
        loop, exited = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(pidfd, exited.set)
        try:
            await exited.wait()
        finally:
            loop.remove_reader(pidfd)
            os.close(pidfd)
    return process.wait()
