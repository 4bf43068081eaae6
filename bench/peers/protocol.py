"""How a peer talks to bench/compare.py: it warms up (three steps, fewer when they take longer than SLOW seconds), says "ready",
then reads a number of seconds per line from standard input and answers with a JSON object: "ms", the milliseconds of the steps
it made in that time (three at least, if they fit SLOW seconds), and "peak_rss_mb"."""
import json
import resource
import sys
import time

SLOW = 20


def timed(step, seconds, least):
    """Milliseconds of steps for `seconds`, and on to `least` of them within SLOW seconds; one at least."""
    start, times = time.perf_counter(), []
    while not times or time.perf_counter() < start + (seconds if len(times) >= least else max(seconds, SLOW)):
        t = time.perf_counter()
        step()
        times.append(1e3 * (time.perf_counter() - t))
    return times


def serve(step):
    timed(step, 0, 3)
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        print(json.dumps(dict(ms=timed(step, float(line), 3), peak_rss_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)), flush=True)
