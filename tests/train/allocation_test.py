#!/usr/bin/env python3
"""The step loop asks for no memory: a run of many steps takes as many blocks from the C library as a run of few."""
import os
import re
import sys
from pathlib import Path

from program import MODELS, Checks, compile_model, folder, run

check = Checks()
with folder() as work:
    work = Path(work)
    counter = work / "count.so"
    run(os.environ.get("CC", "cc"), "-shared", "-fPIC", "-O1", "-o", counter, Path(__file__).parent / "malloc_count.c", "-ldl")
    program = compile_model(sys.argv[1], MODELS / "digits_cnn.json", work / "digits")

    def blocks(batch_size):
        p = run(program, "fit", "--data", MODELS / "digits_train.npz", "--epochs", 1, "--batch-size", batch_size, "--verbose", 0,
                "--threads", 2, env=dict(os.environ, LD_PRELOAD=str(counter)))
        return int(re.search(r"blocks (\d+)", p.stderr)[1])

    few, many = blocks(512), blocks(8)
    check(few > 0, "nothing was counted")
    check(many == few, f"3 steps take {few} blocks, 180 steps take {many}")
check.report()
