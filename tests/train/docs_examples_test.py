#!/usr/bin/env python3
"""The examples of pages in docs/, run as they stand: Python blocks, shell blocks that begin with a command, and the C program, page by
page in one folder each. Needs keras, tf_keras and scipy (exit 77 without)."""
import os
import re
import subprocess
import sys
from pathlib import Path

from program import MODELS, ROOT, Checks, folder, modules, run

PAGES = ("mixed_precision", "gradient_pipeline", "sparse_ragged", "c_api")
MISSING = {"gradient_pipeline": ("model.json", "data.npz")}  # the reader's own files
modules("keras", "tf_keras", "scipy")
check = Checks()
tfcc = Path(sys.argv[1]).resolve()
OWN = """
import keras, numpy as np
i = keras.Input((4,))
m = keras.Model(i, keras.layers.Dense(2)(keras.layers.Dense(3, "relu")(i)))
open("model.json", "w").write(m.to_json())
np.savez("data.npz", x=np.random.rand(40, 4), y=np.random.rand(40, 2))
"""
IMPORTS = {"gradient_pipeline": "import keras\n"}


def blocks(text):
    return [(kind, body) for kind, body in re.findall(r"^```(\w*)\n(.*?)^```$", text, re.M | re.S)]


def execute(what, argv, cwd):
    env = {**os.environ, "PATH": f"{tfcc.parent}:{os.environ['PATH']}", "TF_CPP_MIN_LOG_LEVEL": "3"}
    p = subprocess.run(argv, cwd=cwd, env=env, capture_output=True, text=True, timeout=600)
    check(p.returncode == 0, f"{what}: exit {p.returncode}: {p.stdout[-300:]}{p.stderr[-600:]}")


def shell(body):
    """The commands of a block; what a page says of a command stands behind two spaces or more."""
    return re.sub(r"(\S) {2,}[^ -].*$", r"\1", body, flags=re.M)


def run_page(page, work):
    (work / "models").symlink_to(MODELS)
    text = (ROOT / "docs" / f"{page}.md").read_text()
    if page == "c_api":
        (work / "model.json").write_text((MODELS / "digits_cnn.json").read_text())
    if page in MISSING:
        execute(f"{page}: its model", [sys.executable, "-c", OWN], work)
    seen = 0
    for kind, body in blocks(text):
        what = f"{page}: {body.strip().splitlines()[0]}"
        if kind == "python":
            execute(what, [sys.executable, "-c", IMPORTS.get(page, "") + body], work)
            seen += 1
        elif kind == "" and body.startswith("tfcc compile") and "--lazy-embeddings" not in body:
            for line in shell(body.replace("\\\n", " ")).splitlines():
                execute(f"{page}: {line}", ["sh", "-c", line], work)
            seen += 1
        elif kind == "c":
            (work / "loop.c").write_text(body)
            run(tfcc, "compile", "model.json", "-o", "digits", "--emit", "lib", cwd=work)
            execute(what, ["cc", "-std=c99", "-I.", "loop.c", "libdigits.a", "-lz", "-lpthread", "-ldl", "-lm", "-o", "loop"], work)
            execute(f"{page}: ./loop", ["./loop"], work)
            check((work / "digits.weights.h5").exists(), f"{page}: the loop saved its weights")
            seen += 1
    check(seen > 0, f"{page}: no examples")


for page in PAGES:
    with folder() as name:
        run_page(page, Path(name))
check.report()
