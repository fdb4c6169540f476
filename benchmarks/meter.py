"""Run a command; print its wall time and peak memory as JSON, the last line of standard error.

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
print(f'\n{{"seconds": {seconds}, "peak_bytes": {peak}}}', file=sys.stderr)
sys.exit(os.waitstatus_to_exitcode(status) and 1)
