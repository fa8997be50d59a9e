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
