#!/usr/bin/env python3
"""An Embedding large enough to be updated by rows learns exactly what a small one, updated as a whole, learns from the same words;
rows that no word names stay as they are; nothing of it depends on the threads; saved states continue."""
import json
import sys
from pathlib import Path

import h5py
import numpy as np

from program import Checks, compile_model, folder, read_json, run

check = Checks()
tfcc = sys.argv[1]
SMALL, LARGE, COLUMNS, WORDS, ROWS = 300, 20000, 16, 5, 41


def model(rows):
    def layer(name, cls, config, source, shape):
        tensor = {"class_name": "__keras_tensor__", "config": {"shape": shape, "dtype": "float32", "keras_history": [source, 0, 0]}}
        return {"module": "keras.layers", "class_name": cls, "config": {"name": name, **config}, "registered_name": None, "name": name,
                "inbound_nodes": [{"args": [tensor], "kwargs": {}}] if source else []}
    layers = [layer("x", "InputLayer", {"batch_shape": [None, WORDS], "dtype": "int32"}, None, None),
              layer("embedding", "Embedding", {"input_dim": rows, "output_dim": COLUMNS}, "x", [None, WORDS]),
              layer("flatten", "Flatten", {}, "embedding", [None, WORDS, COLUMNS]), layer("dense", "Dense", {"units": 2}, "flatten", [None, WORDS * COLUMNS])]
    return json.dumps({"module": "keras", "class_name": "Functional", "registered_name": "Functional",
                       "config": {"name": "m", "trainable": True, "layers": layers, "input_layers": [["x", 0, 0]], "output_layers": [["dense", 0, 0]]}})


def write_weights(path, table, kernel):
    with h5py.File(path, "w") as f:
        f["layers/embedding/vars/0"] = table
        f["layers/dense/vars/0"], f["layers/dense/vars/1"] = kernel, np.zeros(2, "float32")


def train(work, program, weights, out, threads, epochs=3):
    run(program, "fit", "--data", work / "d.npz", "--weights", weights, "--epochs", epochs, "--batch-size", 12, "--no-shuffle", "--threads", threads,
        "--save", out, "--history", work / "h.json", "--verbose", 0)
    with h5py.File(out, "r") as f:
        return np.array(read_json(work / "h.json")["batch_loss"]), f["layers/embedding/vars/0"][()], f["layers/dense/vars/0"][()]


def compare(work, optimizer, by_rows):
    r = np.random.default_rng(3)
    table, kernel = r.normal(size=(LARGE, COLUMNS)).astype("float32"), r.normal(size=(WORDS * COLUMNS, 2)).astype("float32")
    x = r.integers(0, SMALL, (ROWS, WORDS)).astype("int32")
    x[:, 1], x[3], x[4] = x[:, 0], x[2], 7  # repeated within rows and between them
    np.savez(work / "d.npz", x=x, y=r.normal(size=(ROWS, 2)).astype("float32"))
    found = {}
    for name, rows in (("small", SMALL), ("large", LARGE)):
        (work / f"{name}.json").write_text(model(rows))
        write_weights(work / f"{name}.weights.h5", table[:rows], kernel)
        program = compile_model(tfcc, work / f"{name}.json", work / name, "--optimizer", optimizer, "--loss", "mse")
        found[name] = train(work, program, work / f"{name}.weights.h5", work / "s.weights.h5", 1)
    small, large = found["small"], found["large"]
    check(np.abs(small[0] - large[0]).max() <= 1e-6 * np.abs(small[0]).max(), f"{optimizer}: losses {small[0]} {large[0]}")
    check(np.abs(small[1] - large[1][:SMALL]).max() < 1e-6, f"{optimizer}: the table's rows")
    check(np.abs(small[2] - large[2]).max() < 1e-6, f"{optimizer}: the kernel")
    untouched = np.setdiff1d(np.arange(LARGE), x)
    check((large[1][untouched] == table[untouched]).all(), f"{optimizer}: rows that no word names have changed")
    again = train(work, work / "large", work / "large.weights.h5", work / "t.weights.h5", 3)
    check(all((a == b).all() for a, b in zip(large, again)), f"{optimizer}: other numbers with 3 threads")
    train(work, work / "large", work / "large.weights.h5", work / "a.weights.h5", 2, 1)
    rest = train(work, work / "large", work / "a.weights.h5", work / "b.weights.h5", 2, 2)
    check(all((a == b).all() for a, b in zip(large[1:], rest[1:])), f"{optimizer}: stopped and continued, other weights")
    run(tfcc, "compile", work / "large.json", "-o", work / "ir", "--emit", "ir", "--optimizer", optimizer, "--loss", "mse")
    check(("row_marks" in (work / "ir").read_text()) == by_rows, f"{optimizer}: expected {'rows' if by_rows else 'the whole table'}")


with folder() as name:
    compare(Path(name), "sgd", True)
    compare(Path(name), "adagrad", True)
check.report()
