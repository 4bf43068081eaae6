#!/usr/bin/env python3
"""What a training step costs with an Embedding of many rows, of which it touches 8192.

    embedding.py TFCC [ROWS ...]

SGD and Adagrad leave rows with a gradient of zero alone, so only touched rows are computed; Adam decays the moments of all rows, but
with --lazy-embeddings those of the touched rows only."""
import json
import re
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests/train"))
from program import compile_model, embedding_model, folder, run

COLUMNS, WORDS, BATCH, BATCHES = 16, 8, 1024, 8


def measure(tfcc, work, rows, optimizer):
    (work / "m.json").write_text(json.dumps(embedding_model(rows, COLUMNS, WORDS, 1)))
    compile_model(tfcc, work / "m.json", work / "m", "--loss", "mse", "--optimizer", *optimizer.split())
    r = np.random.default_rng(1)
    np.savez(work / "d.npz", x=r.integers(0, rows, (BATCH * BATCHES, WORDS)).astype("int32"), y=np.zeros((BATCH * BATCHES, 1), "float32"))
    p = run(work / "m", "fit", "--data", work / "d.npz", "--batch-size", BATCH, "--verbose", 2, "--epochs", 5)
    steps = re.findall(r"- ([\d.]+)(us|ms|s)/step", p.stdout)
    return min(float(t) * {"us": 1e-3, "ms": 1, "s": 1e3}[unit] for t, unit in steps)


def main():
    sizes = [int(a) for a in sys.argv[2:]] or [100_000, 1_000_000, 10_000_000]
    with folder() as name:
        print("     rows  optimizer               step, ms")
        for rows in sizes:
            for optimizer in ("sgd", "adagrad", "adam", "adam --lazy-embeddings"):
                print(f"{rows:>9}  {optimizer:<22}  {measure(sys.argv[1], Path(name), rows, optimizer):8.2f}")


main()
