#!/usr/bin/env python3
"""The models of models/ train as Keras trains them (its history is kept in models/reference), and the digits CNN reaches
its accuracy on the test images."""
import json
import sys
from pathlib import Path

from program import MODELS, Checks, compile_model, folder, read_json, run

check = Checks()
with folder() as work:
    work = Path(work)
    for name, data in (("digits_cnn", "digits_train.npz"), ("sonnets_transformer", "sonnets.npz")):
        program = compile_model(sys.argv[1], MODELS / f"{name}.json", work / name)
        keras = read_json(MODELS / "reference" / f"{name}.history.json")
        run(program, "fit", "--data", MODELS / data, "--weights", MODELS / "reference" / f"{name}.weights.h5",
            "--epochs", keras["how"]["epochs"], "--batch-size", keras["how"]["batch_size"], "--no-shuffle",
            "--history", work / "history.json", "--verbose", 0)
        got = read_json(work / "history.json")
        # rounding grows over the steps of training: the bound is on the loss of whole epochs
        for epoch, (a, b) in enumerate(zip(got["loss"], keras["history"]["loss"], strict=True)):
            check(abs(a - b) < 2e-3 * (1 + epoch), f"{name}: loss of epoch {epoch}: {a}, Keras has {b}")
    run(work / "digits_cnn", "fit", "--data", MODELS / "digits_train.npz", "--epochs", 12, "--seed", 1, "--verbose", 0,
        "--save", work / "w.weights.h5")
    out = run(work / "digits_cnn", "evaluate", "--data", MODELS / "digits_test.npz", "--weights", work / "w.weights.h5", "--json")
    accuracy = json.loads(out.stdout.splitlines()[-1])["accuracy"]
    check(accuracy >= 0.97, f"accuracy {accuracy} on the digits test set, expected at least 0.97")
check.report()
