#!/usr/bin/env python3
"""What a step with a sparse input costs: by entries per row, and by columns.

    sparse.py TFCC

Times training steps (SGD) of a Dense layer. The part that grows with the entries is the products; the kernel and its gradient are
dense, so that a part grows with the columns, too."""
import json
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests/train"))
from program import compile_model, folder, functional, layer, run

ROWS, UNITS = 8192, 32


def model(columns):
    return json.dumps(functional([layer("x", "InputLayer", {"batch_shape": [None, columns], "dtype": "float32", "sparse": True}),
                                  layer("dense", "Dense", {"units": UNITS}, "x")]))


def seconds(*argv):
    begin = time.perf_counter()
    run(*argv)
    return time.perf_counter() - begin


def measure(tfcc, work, columns, entries):
    (work / "m.json").write_text(model(columns))
    compile_model(tfcc, work / "m.json", work / "m", "--optimizer", "sgd", "--loss", "mse")
    r = np.random.default_rng(1)
    step = columns // entries
    indices = (np.arange(entries) * step + r.integers(0, step, (ROWS, entries))).reshape(-1)
    np.savez(work / "d.npz", data=np.ones(ROWS * entries, "float32"), indices=indices, indptr=np.arange(ROWS + 1) * entries,
             shape=np.array([ROWS, columns]), y=np.zeros((ROWS, UNITS), "float32"))
    fit = [seconds(work / "m", "fit", "--data", work / "d.npz", "--batch-size", 1024, "--verbose", 0, "--threads", 1, "--epochs", e) for e in (1, 6)]
    return (fit[1] - fit[0]) / 5 * 1000 / (ROWS / 1024)


def main():
    with folder() as name:
        work = Path(name)
        print("columns  entries a row   training step of 1024 rows, ms")
        for columns in (10_000, 100_000, 1_000_000):
            for entries in (8, 64, 512):
                print(f"{columns:>7}  {entries:>13}   {measure(sys.argv[1], work, columns, entries):8.2f}")


main()
