#!/usr/bin/env python3
"""What rows of very different lengths cost, ragged and padded to the longest: a training step's time and the program's memory.

    ragged.py TFCC

A GRU over vectors, in batches of 64 rows of which one is long and the others have 10 steps. Padded, the same rows go through Masking."""
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests/train"))
from program import compile_model, folder, functional, layer

ROWS, BATCH, SHORT, WIDTH, UNITS, EPOCHS = 512, 64, 10, 16, 64, 5


def model(steps):
    ragged = steps is None
    first = layer("x", "InputLayer", {"batch_shape": [None, steps, WIDTH], "dtype": "float32", "ragged": ragged})
    return json.dumps(functional([first, layer("m", "Identity" if ragged else "Masking", {}, "x"), layer("g", "GRU", {"units": UNITS}, "m"),
                                  layer("d", "Dense", {"units": 1}, "g")]))


def fit(program, data, epochs):
    """Seconds, and the most memory in MB."""
    begin = time.perf_counter()
    p = subprocess.Popen([program, "fit", "--data", data, "--batch-size", str(BATCH), "--no-shuffle", "--verbose", "0", "--threads", "1",
                          "--epochs", str(epochs)])
    _, status, usage = os.wait4(p.pid, 0)
    if status:
        sys.exit(f"{program} failed")
    return time.perf_counter() - begin, usage.ru_maxrss / 1024


def measure(tfcc, work, steps, data):
    (work / "m.json").write_text(model(steps))
    compile_model(tfcc, work / "m.json", work / "m", "--optimizer", "sgd", "--loss", "mse")
    np.savez(work / "d.npz", y=np.zeros((ROWS, 1), "float32"), **data)
    runs = [fit(work / "m", work / "d.npz", e) for e in (1, 1 + EPOCHS)]
    return (runs[1][0] - runs[0][0]) / EPOCHS * 1000 / (ROWS / BATCH), runs[1][1]


def main():
    r = np.random.default_rng(1)
    with folder() as name:
        work = Path(name)
        print("longest  values  of padded   ragged: ms a step, MB   padded: ms a step, MB")
        for longest in (10, 100, 500):
            lengths = np.full(ROWS, SHORT)
            lengths[::BATCH] = longest
            splits = np.concatenate([[0], np.cumsum(lengths)])
            values = r.standard_normal((splits[-1], WIDTH)).astype("float32")
            padded = np.zeros((ROWS, longest, WIDTH), "float32")
            for i in range(ROWS):
                padded[i, : lengths[i]] = values[splits[i] : splits[i + 1]]
            a = measure(sys.argv[1], work, None, {"x.values": values, "x.row_splits": splits})
            b = measure(sys.argv[1], work, longest, {"x": padded})
            print(f"{longest:>7}  {splits[-1]:>6}  {splits[-1] / (ROWS * longest):>8.0%}   {a[0]:>17.2f}  {a[1]:>4.0f}   {b[0]:>17.2f}  {b[1]:>4.0f}")


main()
