#!/usr/bin/env python3
"""Text in whole programs: an adapted vocabulary goes along into a saved archive; words outside of a closed vocabulary, and data
that is no text, are refused."""
import json
import sys
from pathlib import Path

import numpy as np

from program import ROOT, Checks, compile_model, folder, run

check = Checks()
tfcc = sys.argv[1]
CASE = ROOT / "tests" / "conformance" / "more" / "more_text_adapted"


def saved(work):
    program, data = compile_model(tfcc, CASE / "model.keras", work / "a"), CASE / "data.npz"
    run(program, "fit", "--data", data, "--epochs", 2, "--no-shuffle", "--seed", 1, "--save", work / "s.keras")
    run(program, "fit", "--data", data, "--epochs", 2, "--no-shuffle", "--seed", 1, "--save", work / "s.weights.h5")
    again = compile_model(tfcc, work / "s.keras", work / "b")
    run(program, "predict", "--data", data, "--weights", work / "s.weights.h5", "--output", work / "p.npz")
    run(again, "predict", "--data", data, "--output", work / "q.npz")
    check((np.load(work / "p.npz")["y"] == np.load(work / "q.npz")["y"]).all(), "a saved archive predicts otherwise")


def layer(cls, name, **config):
    return {"module": "keras.layers", "class_name": cls, "config": {"name": name, **config}, "registered_name": None, "name": name}


def refused(work):
    layers = [layer("InputLayer", "x", batch_shape=[None, 1], dtype="string"), layer("StringLookup", "look", vocabulary=["a", "b"], num_oov_indices=0),
              layer("Embedding", "embedding", input_dim=2, output_dim=1), layer("Flatten", "flatten")]
    model = {"module": "keras", "class_name": "Sequential", "config": {"name": "m", "layers": layers}, "registered_name": None}
    (work / "m.json").write_text(json.dumps(model))
    program = compile_model(tfcc, work / "m.json", work / "m", "--optimizer", "sgd", "--loss", "mse")
    y = np.zeros((3, 1), "float32")
    cases = [(np.array([["a"], ["b"], ["c"]]), "look: \"c\" is not in the vocabulary"), (np.ones((3, 1)), "expected strings"),
             (np.array([["a"], ["b"], ["a"]], dtype=object), "a pickle")]
    for x, message in cases:
        np.savez(work / "d.npz", x=x, y=y)
        for verb in (("predict", "--output", work / "none.npz"), ("evaluate",), ("fit", "--save", work / "none.weights.h5")):
            p = run(program, *verb, "--data", work / "d.npz", ok=False)
            check(p.returncode == 1 and message in p.stderr, f"{verb[0]}: exit {p.returncode}: {p.stderr}")
            check(not list(work.glob("none*")), f"{verb[0]} left a file")
    np.savez(work / "d.npz", x=np.array([[b"a"], [b"b"], [b"a"]]), y=y)
    run(program, "evaluate", "--data", work / "d.npz")


with folder() as name:
    saved(Path(name))
    refused(Path(name))
check.report()
