"""What holds for all tests."""

import signal

import shape_checks

shape_checks.install()

# A shell starts what it puts into the background with Ctrl-C ignored, and children inherit that;
# the tests that interrupt a command would then wait for ever.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
