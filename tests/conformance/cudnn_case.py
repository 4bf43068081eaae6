#!/usr/bin/env python3
"""The case of CuDNNLSTM and CuDNNGRU, which run on no CPU: a model of LSTM and GRU predicts, and its JSON and weights are
rewritten as those layers have them (tf_keras converts weights the same way when it loads them).
Run: python cudnn_case.py OUT_DIR, with OUT_DIR/more_keras2_cudnn."""
import json
import os
import sys
from pathlib import Path

os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="")
import h5py
import numpy as np
import tf_keras as k

KEPT = ("name trainable dtype return_sequences return_state go_backwards stateful unroll time_major units kernel_initializer "
        "recurrent_initializer bias_initializer unit_forget_bias kernel_regularizer recurrent_regularizer bias_regularizer "
        "activity_regularizer kernel_constraint recurrent_constraint bias_constraint").split()


def rewrite(j):
    if isinstance(j, dict):
        if j.get("class_name") in ("LSTM", "GRU"):
            if j["class_name"] == "GRU":
                j["config"].pop("unit_forget_bias", None)
            j["class_name"] = "CuDNN" + j["class_name"]
            j["config"] = {key: v for key, v in j["config"].items() if key in KEPT}
            j.pop("build_config", None)
        for v in j.values():
            rewrite(v)
    elif isinstance(j, list):
        for v in j:
            rewrite(v)


def convert(weights, gates):
    turn = lambda w, f: np.hstack([f(p) for p in np.hsplit(w, gates)])
    kernel, recurrent, bias = weights
    return [turn(kernel, lambda p: p.T.reshape(p.shape)), turn(recurrent, np.transpose),
            np.concatenate([0.25 * bias, 0.75 * bias]) if gates == 4 else bias.reshape(-1)]


def main(out):
    out.mkdir(parents=True, exist_ok=True)
    r = np.random.default_rng(5)
    i = k.Input((4, 3), name="i")
    x = k.layers.Bidirectional(k.layers.LSTM(3, return_sequences=True), name="both")(i)
    y, h, c = k.layers.LSTM(2, return_state=True, return_sequences=True, go_backwards=True, name="a")(x)
    z = k.layers.GRU(3, name="b")(k.layers.Concatenate(name="join")([x, y]), initial_state=k.layers.Dense(3, name="start")(h))
    m = k.Model(i, k.layers.Concatenate(name="all")([z, h, c]))
    for v in m.weights:
        v.assign(r.normal(size=v.shape) * 0.5)
    data = r.normal(size=(3, 4, 3)).astype("float32")
    j = json.loads(m.to_json())
    rewrite(j)
    (out / "model.json").write_text(json.dumps(j))
    np.savez_compressed(out / "data.npz", x=data)
    np.savez_compressed(out / "expected.npz", **{"pred.all": m(data).numpy()})
    places = [("layers/bidirectional/forward_layer/vars", m.get_layer("both").forward_layer.get_weights(), 4),
              ("layers/bidirectional/backward_layer/vars", m.get_layer("both").backward_layer.get_weights(), 4),
              ("layers/cu_dnnlstm/vars", m.get_layer("a").get_weights(), 4), ("layers/cu_dnngru/vars", m.get_layer("b").get_weights(), 3)]
    with h5py.File(out / "init.weights.h5", "w") as f:
        for group, weights, gates in places:
            for n, w in enumerate(convert(weights, gates)):
                f[f"{group}/{n}"] = w.astype("float32")
        for n, w in enumerate(m.get_layer("start").get_weights()):
            f[f"layers/dense/vars/{n}"] = w
    meta = {"category": "more", "keras_version": k.__version__, "keras2": True, "model": "model.json", "batch_size": 3, "epochs": 0, "samples": 3,
            "train": False, "recipe": None, "note": "", "inputs": ["i"], "outputs": ["all"], "weights": [], "other_datasets": [],
            "tolerances": {"rtol": 1e-4, "atol": 1e-5, "factors": {}, "skip": {}}, "compared_with_jax": False}
    (out / "meta.json").write_text(json.dumps(meta, indent=1))


if __name__ == "__main__":
    main(Path(sys.argv[1]) / "more_keras2_cudnn")
