#!/usr/bin/env python3
"""What mixed precision does to 200 steps of training, in tfcc and in Keras: the mean distance of the smoothed losses from the float32
losses of the same side, for the digits CNN and the sonnets transformer from the same weights. (The sides differ in float32
already where rows of an Embedding's gradient repeat, see models/reference/make_models.py.)

    python3 bench/mixed_curves.py TFCC                  with a Python that has keras and tensorflow
"""
import json
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests/train"))
import keras
import numpy as np
from program import MODELS, compile_model, folder, run

STEPS, SMOOTH = 200, 20


class BatchLosses(keras.callbacks.Callback):
    """Keras's logs hold the mean since the epoch began."""

    def __init__(self):
        super().__init__()
        self.loss = []

    def on_epoch_begin(self, epoch, logs=None):
        self.sum, self.count = 0, 0

    def on_train_batch_end(self, batch, logs=None):
        self.count += 1
        self.loss.append(logs["loss"] * self.count - self.sum)
        self.sum = logs["loss"] * self.count


def with_policy(text, policy):
    def walk(j):
        if isinstance(j, dict):
            if j.get("class_name") == "DTypePolicy":
                j["config"]["name"] = policy
            for x in j.values():
                walk(x)
        elif isinstance(j, list):
            for x in j:
                walk(x)
        return j
    return json.dumps(walk(json.loads(text)))


def of_keras(text, weights, x, y, batch, epochs):
    m = keras.models.model_from_json(text)
    if not m.compiled:
        m.compile_from_config(json.loads(text)["compile_config"])
    m.load_weights(weights)
    losses = BatchLosses()
    m.fit(x, y, batch_size=batch, epochs=epochs, shuffle=False, verbose=0, callbacks=[losses])
    return losses.loss


def of_tfcc(work, text, weights, data, batch, epochs):
    (work / "m.json").write_text(text)
    program = compile_model(sys.argv[1], work / "m.json", work / "m")
    run(program, "fit", "--data", data, "--weights", weights, "--batch-size", batch, "--epochs", epochs, "--no-shuffle",
        "--verbose", 0, "--history", work / "h.json")
    return json.loads((work / "h.json").read_text())["batch_loss"]


def smooth(losses):
    return np.convolve(losses[:STEPS], np.ones(SMOOTH) / SMOOTH, "valid")


with folder() as work:
    work = Path(work)
    for name, file, batch in (("digits_cnn", "digits_train.npz", 32), ("sonnets_transformer", "sonnets.npz", 16)):
        data, weights = MODELS / file, MODELS / "reference" / f"{name}.weights.h5"
        text = (MODELS / f"{name}.json").read_text()
        x, y = (np.load(data)[k] for k in "xy")
        epochs = -(-STEPS // -(-len(x) // batch))
        def losses(policy):
            model = with_policy(text, policy)
            return np.array([smooth(of_keras(model, weights, x, y, batch, epochs)),
                             smooth(of_tfcc(work, model, weights, data, batch, epochs))])
        single = losses("float32")
        for policy in ("mixed_bfloat16", "mixed_float16"):
            theirs, ours = np.abs(losses(policy) - single).mean(axis=1)
            print(f"{name} {policy}: mean distance from float32 losses: tfcc {ours:.2g}, Keras {theirs:.2g}")
