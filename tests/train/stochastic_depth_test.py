#!/usr/bin/env python3
"""StochasticDepth drops whole examples at its rate, scales the rest, draws anew each step, and lets evaluation pass. Keras
takes its draws from a generator that no model names, so this is about their distribution."""
import json
import sys
from pathlib import Path

import numpy as np
from program import Checks, compile_model, folder, functional, layer, read_json, run

RATE, BATCH, STEPS = 0.25, 64, 40


MODEL = functional([layer("x", "InputLayer", {"batch_shape": [None, 3], "dtype": "float32"}),
                    layer("depth", "StochasticDepth", {"drop_path_rate": RATE}, "x")])

check = Checks()
with folder() as work:
    work = Path(work)
    (work / "model.json").write_text(json.dumps(MODEL))
    x = np.full((BATCH * STEPS, 3), 1.0 - RATE, "float32")
    np.savez(work / "d.npz", x=x, y=np.zeros_like(x))
    program = compile_model(sys.argv[1], work / "model.json", work / "m", "--optimizer", "sgd", "--loss", "mse")
    run(program, "fit", "--data", work / "d.npz", "--batch-size", BATCH, "--epochs", 1, "--seed", 3, "--history", work / "h.json",
        "--verbose", 0)
    kept = np.array(read_json(work / "h.json")["batch_loss"]) * BATCH  # each kept example adds one
    check(np.allclose(kept, kept.round(), atol=1e-3), f"kept examples are not scaled to one: {kept[:4]}")
    check(len(set(kept.round())) > 5, f"every step drops the same: {kept[:8]}")
    check(abs(kept.mean() / BATCH - (1 - RATE)) < 0.04, f"{kept.mean() / BATCH:.3f} of the examples are kept, not {1 - RATE}")
    out = run(program, "evaluate", "--data", work / "d.npz", "--json")
    check(abs(json.loads(out.stdout.splitlines()[-1])["loss"] - (1 - RATE) ** 2) < 1e-5, "evaluation does not pass its input on")
check.report()
