"""What broken files do to the process that reads them."""

import os
import signal
import time


def misbehave(what):
    """Do it; return what is not among it."""
    if what == "hang":
        time.sleep(60)
    if what == "hang-in-C":  # the signal that asks for an end is not heard
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        time.sleep(60)
    if what == "grow":
        grown = []
        while True:
            grown.append(b"x" * 10_000_000)
    if what == "segfault":
        os.kill(os.getpid(), signal.SIGSEGV)
    if what == "exit":
        os._exit(3)
    if what == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "leave-a-child":  # which holds the pipe open
        if os.fork():
            os._exit(4)
        time.sleep(60)
    print("what libraries print does no harm", flush=True)
    return what


def mcp_work(task):
    """The work of an MCP call; the names of some files end it."""
    from echoseg.mcp_server.work import work

    misbehave(task.source.stem)
    return work(task)


def crash_in_header(path):
    """`read_clip_header`; two names end the process that reads them."""
    from echoseg.io.clip_header import read_clip_header

    if path.stem in ("segfault", "IM_2"):
        misbehave("segfault")
    return read_clip_header(path)
