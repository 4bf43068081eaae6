#!/usr/bin/env python3
"""--memory-limit: a limited program trains as the unlimited one does, within rounding, for any number of threads; the plan keeps
to the limit; what cannot be reached is refused with the least that can."""
import json
import re
import sys
from pathlib import Path

import numpy as np

from program import MODELS, Checks, compile_model, folder, functional, layer, read_json, run

check = Checks()
tfcc = sys.argv[1]
ROWS = 24
SGD = ("--optimizer", "sgd")
LOSS = ("--loss", "sparse_categorical_crossentropy")


def least_of(model, out, options):
    p = run(tfcc, "compile", model, "-o", out, *options, "--memory-limit", f"1@{ROWS}", ok=False)
    found = re.search(rf"--memory-limit: expected at least (\d+) bytes for batches of {ROWS} in train_step \(.*\), found 1; ", p.stderr)
    check(p.returncode == 1 and found and not out.exists(), f"no least: exit {p.returncode}: {p.stderr}")
    return int(found.group(1))


def planned(text):
    return int(re.search(rf"memory of train_step for batches of {ROWS}: (\d+) bytes", text).group(1))


def losses(work, program, data, threads):
    run(program, "fit", "--data", data, "--epochs", 1, "--batch-size", ROWS, "--steps-per-epoch", 3, "--seed", 3, "--history", work / "h.json",
        "--threads", threads)
    return np.array(read_json(work / "h.json")["batch_loss"])


def compare(work, model, data, compiled):
    explain = ("--explain", "memory")
    free = run(tfcc, "compile", model, "-o", work / "free", *compiled, *explain, "--memory-limit", f"1G@{ROWS}").stdout
    whole, least = planned(free), least_of(model, work / "none", compiled)
    check("computed again" not in free, f"computed again without need: {free}")
    check(least < 0.7 * whole, f"{model.name}: {least} of {whole} bytes is the least")
    want = losses(work, work / "free", data, 1)
    for limit in (least, (least + whole) // 2):
        options = (*compiled, "--memory-limit", f"{limit}@{ROWS}")
        text = run(tfcc, "compile", model, "-o", work / "tight", *options, *explain).stdout
        check(planned(text) <= limit and "computed again: " in text, f"{limit} bytes: {text[:300]}")
        got = losses(work, work / "tight", data, 1)
        check(np.allclose(got, want, rtol=1e-6, atol=0), f"{model.name} in {limit} bytes: losses {got}, without limit {want}")
        check((got == losses(work, work / "tight", data, 3)).all(), f"{model.name} in {limit} bytes: other numbers with 3 threads")
    texts = [compile_model(tfcc, model, work / f"{i}.ir", *options, "--emit", "ir", "--verify", 2).read_bytes() for i in range(2)]
    check(texts[0] == texts[1], "not the same plan twice")


def refusals(work, model):
    for limit in ("", "0", "-1", "x", "5T", "1M@", "1M@0", "1M@x", "@4", "1M@99999999999", "5MB"):
        p = run(tfcc, "compile", model, "-o", work / "none", *LOSS, "--memory-limit", limit, ok=False)
        check(p.returncode == 1 and "expected BYTES[@BATCH]" in p.stderr, f"{limit}: exit {p.returncode}: {p.stderr}")


def convolutions(work):
    """Convolution, batch normalization, relu and a shortcut, with dropout, twice."""
    layers, last = [layer("x", "InputLayer", {"batch_shape": [None, 12, 12, 8], "dtype": "float32"})], "x"
    for i in "ab":
        layers += [layer("c" + i, "Conv2D", {"filters": 8, "kernel_size": [3, 3], "padding": "same"}, last),
                   layer("n" + i, "BatchNormalization", {}, "c" + i), layer("r" + i, "ReLU", {}, "n" + i),
                   layer("d" + i, "Dropout", {"rate": 0.25, "seed": 7}, "r" + i), layer("s" + i, "Add", {}, "d" + i, last)]
        last = "s" + i
    layers += [layer("flat", "Flatten", {}, last), layer("y", "Dense", {"units": 5, "activation": "softmax"}, "flat")]
    (work / "convolutions.json").write_text(json.dumps(functional(layers)))
    r = np.random.default_rng(4)
    np.savez(work / "d.npz", x=r.standard_normal((4 * ROWS, 12, 12, 8)).astype("float32"), y=r.integers(0, 5, 4 * ROWS))
    return work / "convolutions.json", work / "d.npz"


with folder() as name:
    compare(Path(name), MODELS / "sonnets_transformer.json", MODELS / "sonnets.npz", SGD)
    compare(Path(name), *convolutions(Path(name)), (*SGD, *LOSS))
    refusals(Path(name), MODELS / "digits_cnn.json")
check.report()
