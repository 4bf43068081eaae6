#!/usr/bin/env python3
"""What a step with a sparse input costs: by entries per row, and by columns.

    sparse.py TFCC

Times training steps (SGD) of a Dense layer. The part that grows with the entries is the products; the kernel and its gradient are
dense, so that a part grows with the columns, too."""
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROWS, UNITS = 8192, 32


def model(columns, sparse):
    def layer(name, cls, config, nodes):
        return {"module": "keras.layers", "class_name": cls, "config": {"name": name, **config}, "registered_name": None, "name": name,
                "inbound_nodes": nodes}
    tensor = {"class_name": "__keras_tensor__", "config": {"shape": [None, columns], "dtype": "float32", "keras_history": ["x", 0, 0]}}
    layers = [layer("x", "InputLayer", {"batch_shape": [None, columns], "dtype": "float32", "sparse": sparse}, []),
              layer("dense", "Dense", {"units": UNITS}, [{"args": [tensor], "kwargs": {}}])]
    return json.dumps({"module": "keras", "class_name": "Functional", "registered_name": "Functional",
                       "config": {"name": "m", "trainable": True, "layers": layers, "input_layers": [["x", 0, 0]], "output_layers": [["dense", 0, 0]]}})


def seconds(*argv):
    begin = time.perf_counter()
    subprocess.run([str(a) for a in argv], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begin


def measure(tfcc, work, columns, entries):
    (work / "m.json").write_text(model(columns, True))
    subprocess.run([tfcc, "compile", work / "m.json", "-o", work / "m", "--optimizer", "sgd", "--loss", "mse"], check=True)
    r = np.random.default_rng(1)
    step = columns // entries
    indices = (np.arange(entries) * step + r.integers(0, step, (ROWS, entries))).reshape(-1)
    np.savez(work / "d.npz", data=np.ones(ROWS * entries, "float32"), indices=indices, indptr=np.arange(ROWS + 1) * entries,
             shape=np.array([ROWS, columns]), y=np.zeros((ROWS, UNITS), "float32"))
    fit = [seconds(work / "m", "fit", "--data", work / "d.npz", "--batch-size", 1024, "--verbose", 0, "--threads", 1, "--epochs", e) for e in (1, 6)]
    return (fit[1] - fit[0]) / 5 * 1000 / (ROWS / 1024)


def main():
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        print("columns  entries a row   training step of 1024 rows, ms")
        for columns in (10_000, 100_000, 1_000_000):
            for entries in (8, 64, 512):
                print(f"{columns:>7}  {entries:>13}   {measure(sys.argv[1], work, columns, entries):8.2f}")


main()
