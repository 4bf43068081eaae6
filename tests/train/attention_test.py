#!/usr/bin/env python3
"""Attention is one kernel forwards and one backwards, and memory grows in proportion to the number of steps; where the
probabilities themselves are an output it stays in its parts. Training gives the same bits for any number of threads. 16 bits save
their share of the memory."""
import json
import re
import sys
from pathlib import Path

import numpy as np

from program import MODELS, Checks, folder, functional, layer, read_json, run

check = Checks()
tfcc = sys.argv[1]
HEADS = {
    "causal": ("MultiHeadAttention", {"num_heads": 2, "key_dim": 8}, {"use_causal_mask": True}),
    "dropout": ("MultiHeadAttention", {"num_heads": 2, "key_dim": 8, "dropout": 0.1}, {}),
    "grouped": ("GroupQueryAttention", {"head_dim": 8, "num_query_heads": 4, "num_key_value_heads": 2}, {}),
    "attention": ("Attention", {"use_scale": True}, {"use_causal_mask": True}),
    "scores": ("MultiHeadAttention", {"num_heads": 2, "key_dim": 8}, {"return_attention_scores": True}),
}


def model(name, steps):
    cls, config, kwargs = HEADS[name]
    first = layer("attend", cls, config, "in", "in")
    if cls != "Attention":
        first["inbound_nodes"][0]["args"] = first["inbound_nodes"][0]["args"][0]
    first["inbound_nodes"][0]["kwargs"] = kwargs
    layers = [layer("x", "InputLayer", {"batch_shape": [None, steps, 6], "dtype": "float32"}),
              layer("in", "Dense", {"units": 8}, "x"), first, layer("out", "Dense", {"units": 1}, "attend")]
    whole = functional(layers)
    if name == "scores":
        whole["config"]["output_layers"].append(["attend", 0, 1])
    return whole


def compile_steps(work, name, steps, *options):
    path = work / f"{name}{steps}.json"
    path.write_text(json.dumps(model(name, steps)))
    return run(tfcc, "compile", path, "-o", work / f"{name}{steps}", "--optimizer", "sgd", "--loss", "mse", *options).stderr


def plan(work, name, steps):
    """Nests, operations named exponential, and bytes a row of the training step."""
    shown = compile_steps(work, name, steps, "--print-after", "plan_memory", "--stop-after", "plan_memory", "--emit", "ir")
    graph = re.search(r"^graph train_step .*?^}", shown, re.M | re.S)[0]
    return len(re.findall(r"^ +\d+ nest ", graph, re.M)), graph.count("= exponential"), int(re.search(r"batch (\d+) {", graph)[1])


with folder() as f:
    work = Path(f)
    for name in HEADS:
        plans = [plan(work, name, steps) for steps in (512, 1024, 2048)]
        nests, exponentials = (0, 1) if name == "scores" else (2, 0)
        check(all(p[:2] == (nests, exponentials) for p in plans), f"{name}: nests, exponentials, bytes: {plans}")
        growth = plans[2][2] / plans[1][2]
        check(growth > 3 if name == "scores" else growth <= 2.01, f"{name}: {growth} times the memory for twice the steps")
    r = np.random.default_rng(1)
    for name in ("causal", "dropout"):
        compile_steps(work, name, 300)
        np.savez(work / "d.npz", x=r.normal(size=(4, 300, 6)).astype("float32"), y=r.normal(size=(4, 300, 1)).astype("float32"))
        weights = []
        for threads in (1, 2, 3):
            run(work / f"{name}300", "fit", "--data", work / "d.npz", "--batch-size", 2, "--epochs", 2, "--seed", 1, "--verbose", 0,
                "--threads", threads, "--history", work / "h.json", "--save", work / f"{threads}.weights.h5")
            weights.append((work / f"{threads}.weights.h5").read_bytes())
        check(np.isfinite(read_json(work / "h.json")["loss"]).all(), f"{name}: losses {read_json(work / 'h.json')['loss']}")
        check(len(set(weights)) == 1, f"{name}: weights differ with the number of threads")

with folder() as f:
    for policy in ("mixed_float16", "mixed_bfloat16"):
        text = run(tfcc, "compile", MODELS / "sonnets_transformer.json", "--policy", policy, "--emit", "ir", "-o", Path(f) / "s.ir",
                   "--explain", "precision").stdout
        share = float(re.search(r"([0-9.]+) of it per row", text)[1])
        check(share <= 0.6, f"{policy}: values take {share} of float32's memory per row")
check.report()
