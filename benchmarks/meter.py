"""Run a command; print its wall time, its processor time and its peak memory as JSON, the last line
of standard error.

Kept free of imports: its own memory is the least that the peak of a process can be.
"""

import os
import sys
import time

started = time.perf_counter()
child = os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ)
_, status, usage = os.wait4(child, 0)
seconds = time.perf_counter() - started
peak = usage.ru_maxrss * 1024
busy = usage.ru_utime + usage.ru_stime
figures = f'"seconds": {seconds}, "busy_seconds": {busy}, "peak_bytes": {peak}'
print(f"\n{{{figures}}}", file=sys.stderr)
sys.exit(os.waitstatus_to_exitcode(status) and 1)
