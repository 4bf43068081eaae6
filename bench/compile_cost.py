#!/usr/bin/env python3
"""What it costs until a large model can train: `tfcc compile` (code generation and linking included) beside Keras's
model_from_json and first train_on_batch of the same model, in time and in peak memory.

    python3 bench/compile_cost.py [--models EfficientNetB7,ResNet152V2] [--tfcc PATH] [--batch-size B] [--json OUT]

Runs with a Python that has keras and tensorflow. Each side is a process of its own, one after the other. Keras's time starts
behind its imports; its memory is the whole process's, as tfcc's is. The targets are a third of the time, a fifth of the memory.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TIME, MEMORY = 1 / 3, 1 / 5

WRITE = """
import sys, keras
model = getattr(keras.applications, sys.argv[1])(weights=None)
model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
open(sys.argv[2], "w").write(model.to_json())
"""

KERAS = """
import json, resource, sys, time
import keras
import numpy as np
text, batch = open(sys.argv[1]).read(), int(sys.argv[2])
imported, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, time.perf_counter()
model = keras.models.model_from_json(text)
built = time.perf_counter() - start
x = np.random.default_rng(0).uniform(0, 255, (batch, *model.input_shape[1:])).astype("float32")
model.train_on_batch(x, np.zeros((batch,), "int32"))
print(json.dumps({"seconds": time.perf_counter() - start, "build_seconds": built, "imported_mb": imported,
                  "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024}))
"""

# A peak counts what the parent held when it forked, so that a small process stands between.
TFCC = """
import json, resource, subprocess, sys, time
start = time.perf_counter()
subprocess.run(sys.argv[1:], check=True)
usage = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps({"seconds": time.perf_counter() - start, "cpu_seconds": usage.ru_utime + usage.ru_stime,
                  "peak_mb": usage.ru_maxrss // 1024}))
"""


def python(program, *argv):
    env = dict(os.environ, TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="")
    out = subprocess.run([sys.executable, "-c", program, *map(str, argv)], env=env, check=True, capture_output=True, text=True)
    return json.loads(out.stdout.splitlines()[-1]) if out.stdout.strip() else None


def measure(name, tfcc, batch, work):
    source = work / f"{name}.json"
    python(WRITE, name, source)
    r = {"model": name, "tfcc": python(TFCC, tfcc, "compile", source, "-o", work / name), "keras": python(KERAS, source, batch)}
    r["time_ratio"] = r["tfcc"]["seconds"] / r["keras"]["seconds"]
    r["memory_ratio"] = r["tfcc"]["peak_mb"] / r["keras"]["peak_mb"]
    r["met"] = r["time_ratio"] <= TIME and r["memory_ratio"] <= MEMORY
    return r


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--models", default="EfficientNetB7,ResNet152V2")
    p.add_argument("--tfcc", type=Path, default=ROOT / "build/release/bin/tfcc")
    p.add_argument("--batch-size", type=int, default=1)
    p.add_argument("--json", type=Path)
    a = p.parse_args()
    reports = []
    for name in a.models.split(","):
        with tempfile.TemporaryDirectory(prefix="tfcc-cost-") as work:
            r = measure(name, a.tfcc.resolve(), a.batch_size, Path(work))
        reports.append(r)
        print(f"{name:18} tfcc {r['tfcc']['seconds']:6.1f} s {r['tfcc']['peak_mb']:6} MB   Keras {r['keras']['seconds']:6.1f} s "
              f"{r['keras']['peak_mb']:6} MB   time {r['time_ratio']:.2f}  memory {r['memory_ratio']:.2f}"
              f"   {'met' if r['met'] else 'MISSED'}", flush=True)
    if a.json:
        a.json.write_text(json.dumps(reports, indent=1) + "\n")
    sys.exit(not all(r["met"] for r in reports))


if __name__ == "__main__":
    main()
