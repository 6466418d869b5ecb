"""Property tests make the same examples at every run, so that a red run is red again; the soak runs are random.

Tests that send signals find them as a terminal would leave them.
"""

import signal

from hypothesis import HealthCheck, settings

settings.register_profile(
    "repeatable", derandomize=True, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("repeatable")

for sign in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
    # A background job of a script, or a process under nohup, is started with these ignored, and hands that on to every
    # process that a test starts. What is handled is not handed on: tests send signals that do what they do by default.
    if signal.getsignal(sign) is signal.SIG_IGN:
        signal.signal(sign, signal.default_int_handler if sign is signal.SIGINT else lambda *_: None)
