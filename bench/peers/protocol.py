"""How a peer talks to bench/compare.py: it warms up, says "ready", then reads a number of seconds per line from standard
input and answers with a JSON object: "ms", the milliseconds of the steps it made in that time (three at least), and
"peak_rss_mb"."""
import json
import resource
import sys
import time


def serve(step, warm_up=3):
    for _ in range(warm_up):
        step()
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        end, times = time.perf_counter() + float(line), []
        while len(times) < 3 or time.perf_counter() < end:
            t = time.perf_counter()
            step()
            times.append(1e3 * (time.perf_counter() - t))
        print(json.dumps(dict(ms=times, peak_rss_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)), flush=True)
