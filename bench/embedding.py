#!/usr/bin/env python3
"""What a training step costs with an Embedding of many rows, of which it touches 8192.

    embedding.py TFCC [ROWS ...]

SGD and Adagrad leave rows with a gradient of zero alone, so only touched rows are computed; Adam decays the moments of all rows, but
with --lazy-embeddings those of the touched rows only."""
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

COLUMNS, WORDS, BATCH, BATCHES = 16, 8, 1024, 8


def model(rows):
    def layer(name, cls, config, source, shape):
        tensor = {"class_name": "__keras_tensor__", "config": {"shape": shape, "dtype": "float32", "keras_history": [source, 0, 0]}}
        return {"module": "keras.layers", "class_name": cls, "config": {"name": name, **config}, "registered_name": None, "name": name,
                "inbound_nodes": [{"args": [tensor], "kwargs": {}}] if source else []}
    layers = [layer("x", "InputLayer", {"batch_shape": [None, WORDS], "dtype": "int32"}, None, None),
              layer("embedding", "Embedding", {"input_dim": rows, "output_dim": COLUMNS}, "x", [None, WORDS]),
              layer("flatten", "Flatten", {}, "embedding", [None, WORDS, COLUMNS]), layer("dense", "Dense", {"units": 1}, "flatten", [None, WORDS * COLUMNS])]
    return json.dumps({"module": "keras", "class_name": "Functional", "registered_name": "Functional",
                       "config": {"name": "m", "trainable": True, "layers": layers, "input_layers": [["x", 0, 0]], "output_layers": [["dense", 0, 0]]}})


def measure(tfcc, work, rows, optimizer):
    (work / "m.json").write_text(model(rows))
    subprocess.run([tfcc, "compile", work / "m.json", "-o", work / "m", "--loss", "mse", "--optimizer", *optimizer.split()], check=True)
    r = np.random.default_rng(1)
    np.savez(work / "d.npz", x=r.integers(0, rows, (BATCH * BATCHES, WORDS)).astype("int32"), y=np.zeros((BATCH * BATCHES, 1), "float32"))
    p = subprocess.run([work / "m", "fit", "--data", work / "d.npz", "--batch-size", str(BATCH), "--verbose", "2", "--epochs", "5"],
                       check=True, capture_output=True, text=True)
    steps = re.findall(r"- ([\d.]+)(us|ms|s)/step", p.stdout)
    return min(float(t) * {"us": 1e-3, "ms": 1, "s": 1e3}[unit] for t, unit in steps)


def main():
    sizes = [int(a) for a in sys.argv[2:]] or [100_000, 1_000_000, 10_000_000]
    with tempfile.TemporaryDirectory() as name:
        print("     rows  optimizer               step, ms")
        for rows in sizes:
            for optimizer in ("sgd", "adagrad", "adam", "adam --lazy-embeddings"):
                print(f"{rows:>9}  {optimizer:<22}  {measure(sys.argv[1], Path(name), rows, optimizer):8.2f}")


main()
