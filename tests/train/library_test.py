#!/usr/bin/env python3
"""Models as C libraries: the interface (tests/library/api.c) in static and shared form, the header in C99 and C++, the examples in
models/, the numbers of the generated program, and the size of what is deployed."""
import json
import os
import re
import shutil
import sys
from pathlib import Path

import numpy as np

from program import MODELS, ROOT, Checks, compile_model, folder, run

TFCC = sys.argv[1]
LINK = ("-lz", "-lpthread", "-ldl", "-lm")
C99 = ("cc", "-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror", "-D_POSIX_C_SOURCE=200809L", "-O2", "-I.")
DEPLOYED = 100_000  # bytes: predict only, weights apart
check = Checks()


def build(work, name, source, *libraries):
    run(*C99, source, "-o", name, *libraries, *LINK, cwd=work)
    return work / name


def quiet(p, name):
    check(p.returncode == 0 and p.stderr == "", f"{name}: exit {p.returncode}: {p.stdout}{p.stderr}")


with folder() as work:
    work = Path(work)
    (work / "net.json").write_text((MODELS / "digits_cnn.json").read_text())
    model = json.loads((work / "net.json").read_text())
    for layer in model["config"]["layers"]:
        if layer["class_name"] == "Dropout":
            layer["config"]["rate"] = 0.0
    (work / "net.json").write_text(json.dumps(model))
    data = np.load(MODELS / "digits_train.npz")
    data["x"].astype("float32").tofile(work / "x.f32")
    data["y"].astype("int32").tofile(work / "y.i32")

    compile_model(TFCC, work / "net.json", work / "digits_cnn", "--emit", "lib")
    compile_model(TFCC, work / "net.json", work / "digits_infer", "--emit", "lib", "--predict-only")
    check((work / "libdigits_cnn.a").exists() and (work / "digits_cnn.h").exists(), "libdigits_cnn.a and digits_cnn.h are written")
    api = build(work, "api", ROOT / "tests/library/api.c", "libdigits_cnn.a", "libdigits_infer.a")
    p = run(api, "api.weights.h5", cwd=work, ok=False)
    quiet(p, "static library")
    print("static:", p.stdout.strip().splitlines()[-1] if p.stdout else "")

    # the same numbers as the program
    program = compile_model(TFCC, work / "net.json", work / "program")
    run(program, "predict", "--data", MODELS / "digits_test.npz", "--weights", work / "api.weights.h5", "--output", work / "p.npz")
    check(np.isfinite(np.load(work / "p.npz")["y"]).all(), "a program reads the library's weights")

    # shared, twice in one process, only the interface visible
    for name, more in (("digits_cnn", ()), ("digits_infer", ("--predict-only",))):
        os.remove(work / f"lib{name}.a")
        compile_model(TFCC, work / "net.json", work / f"lib{name}.so", "--emit", "lib", "--shared", *more)
        symbols = {line.split()[-1] for line in run("nm", "-D", "--defined-only", work / f"lib{name}.so").stdout.splitlines()}
        check(f"{name}_program" in symbols and all(s.startswith("tfcc_") or s == f"{name}_program" for s in symbols), f"{name}: {symbols}")
        declared = set(re.findall(r"^(?:const )?\w+ \*?(tfcc_\w+)\(", (work / f"{name}.h").read_text(), re.M))
        if not more:
            check(len(declared) > 20 and declared <= symbols, f"{name}: declared and not there: {sorted(declared - symbols)}")
    size = (work / "libdigits_infer.so").stat().st_size
    print("predict only, weights apart:", size, "bytes")
    check(size < DEPLOYED, f"libdigits_infer.so: expected fewer than {DEPLOYED} bytes, found {size}")
    p = run(build(work, "api_shared", ROOT / "tests/library/api.c", "./libdigits_cnn.so", "./libdigits_infer.so"), "api.weights.h5", cwd=work, ok=False)
    quiet(p, "shared library")

    # strings and sparse matrices
    def node(name, cls, config, source=None, dtype="float32"):
        tensor = {"class_name": "__keras_tensor__", "config": {"shape": [None, 1], "dtype": dtype, "keras_history": [source, 0, 0]}}
        return {"module": "keras.layers", "class_name": cls, "config": {"name": name, **config}, "registered_name": None, "name": name,
                "inbound_nodes": [{"args": [tensor], "kwargs": {}}] if source else []}

    def compile_layers(name, layers, outputs, *options):
        config = {"name": name, "trainable": True, "layers": layers, "input_layers": [["x", 0, 0]], "output_layers": [[o, 0, 0] for o in outputs]}
        (work / f"{name}.json").write_text(json.dumps({"module": "keras", "class_name": "Functional", "config": config, "registered_name": "Functional"}))
        compile_model(TFCC, work / f"{name}.json", work / f"lib{name}.a", "--emit", "lib", *options)

    compile_layers("bag", [node("x", "InputLayer", {"batch_shape": [None, 10], "dtype": "float32", "sparse": True}),
                           node("dense", "Dense", {"units": 2}, "x")], ["dense"], "--optimizer", "sgd", "--loss", "mse")
    vocabulary = {"vocabulary": ["tea", "milk"], "num_oov_indices": 0}
    compile_layers("words", [node("x", "InputLayer", {"batch_shape": [None, 1], "dtype": "string"}), node("number", "StringLookup", vocabulary, "x", "string"),
                             node("word", "StringLookup", {**vocabulary, "num_oov_indices": 0, "invert": True}, "number", "int64")], ["number", "word"])
    quiet(run(build(work, "inputs", ROOT / "tests/library/inputs.c", "libbag.a", "libwords.a"), cwd=work, ok=False), "strings and sparse matrices")

    # C++
    if shutil.which("c++"):
        (work / "a.cc").write_text('#include "digits_cnn.h"\nint main() { tfcc_options o = TFCC_OPTIONS; tfcc_model *m; int r = tfcc_create(digits_cnn_program(), &o, &m); tfcc_destroy(m); return r; }\n')
        run("c++", "-Wall", "-Wextra", "-Werror", "-I.", "a.cc", "-o", "cxx", "./libdigits_cnn.so", cwd=work)
        quiet(run(work / "cxx", cwd=work, ok=False), "C++")

    # the examples
    for name in ("digits_cnn", "gan_discriminator", "gan_generator"):
        compile_model(TFCC, MODELS / f"{name}.json", work / f"{name}.a", "--emit", "lib")
    loop = build(work, "digits_loop", MODELS / "digits_loop.c", "digits_cnn.a")
    p = run(loop, "x.f32", "y.i32", "best.weights.h5", cwd=work, ok=False)
    quiet(p, "digits_loop")
    check("best: held out" in p.stdout and (work / "best.weights.h5").exists(), f"digits_loop: {p.stdout}")
    quiet(run(build(work, "gan_loop", MODELS / "gan_loop.c", "gan_discriminator.a", "gan_generator.a"), cwd=work, ok=False), "gan_loop")

    # options that do not go together, and a Make dependency on what is written
    p = run(TFCC, "compile", work / "net.json", "-o", work / "q", "--shared", ok=False)
    check(p.returncode == 1 and "--shared: expected --emit lib" in p.stderr, p.stderr)
    run(TFCC, "compile", work / "net.json", "-o", work / "q", "--emit", "lib", "-MD", "-MF", work / "q.d")
    check((work / "q.d").read_text().startswith(f"{work}/libq.a:"), (work / "q.d").read_text())
check.report()
