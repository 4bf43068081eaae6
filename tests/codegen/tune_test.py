#!/usr/bin/env python3
"""--tune: what was measured is kept and makes the same bytes again; choices of tiles and blocks, here forced through the file,
leave every number as it is, those of Winograd within rounding; damaged files, choices that cannot be and targets that do not
run here. No times are looked at."""
import json
import re
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "train"))
from program import Checks, folder, functional, layer, run

check = Checks()
tfcc = sys.argv[1]
rng = np.random.default_rng(7)
ROWS = 5
LANES = {"avx512fp16": 16, "avx512bf16": 16, "avx512": 16, "avx2": 8, "neon_fp16": 4, "neon": 4, "generic": 4}

small = [layer("x", "InputLayer", {"batch_shape": [None, 6], "dtype": "float32"}),
         layer("dense", "Dense", {"units": 37, "activation": "relu"}, "x"), layer("out", "Dense", {"units": 3}, "dense")]
large = [layer("x", "InputLayer", {"batch_shape": [None, 9, 10, 16], "dtype": "float32"}),
         layer("wide", "Conv2D", {"filters": 18, "kernel_size": [3, 3], "padding": "same", "activation": "relu"}, "x"),
         layer("half", "Conv2D", {"filters": 24, "kernel_size": [3, 3], "strides": [2, 2], "padding": "same"}, "wide"),
         layer("rows", "Reshape", {"target_shape": [25, 24]}, "half"), layer("lstm", "LSTM", {"units": 20}, "rows"),
         layer("dense", "Dense", {"units": 37, "activation": "relu"}, "lstm"), layer("out", "Dense", {"units": 3}, "dense")]


def replace(lines, pattern, by):
    return [re.sub(pattern, by, line) if line.startswith("kernel ") else line for line in lines]


with folder() as work:
    work = Path(work)
    cache, forced = work / "tuning", work / "forced"
    (work / "small.json").write_text(json.dumps(functional(small)))
    (work / "large.json").write_text(json.dumps(functional(large)))
    np.savez(work / "d.npz", x=rng.uniform(-1, 1, (11, 9, 10, 16)).astype("float32"), y=rng.uniform(-1, 1, (11, 3)).astype("float32"))

    def compile_to(name, *options, ok=True, model="small"):
        return run(tfcc, "compile", work / f"{model}.json", "-o", work / name, "--optimizer", "adam", "--loss", "mse", *options, ok=ok)

    def train(name, threads=2):
        run(work / name, "fit", "--data", work / "d.npz", "--batch-size", 4, "--epochs", 2, "--seed", 3, "--threads", threads,
            "--history", work / "h.json", "--verbose", 0)
        return json.loads((work / "h.json").read_text())["batch_loss"]

    # Measured once, then the same again.
    now, known_only = f"--tune=300@{ROWS}", f"--tune=0@{ROWS}"
    first = compile_to("first", now, "--tune-cache", cache, "--explain", "tune")
    lines = cache.read_text().splitlines()
    kernels = [line for line in lines if line.startswith("kernel ")]
    machine = first.stdout.splitlines()[1]
    check(f"{len(kernels)} distinct products; choices in {cache} for" == first.stdout.splitlines()[0], first.stdout)
    check(machine in lines and len(kernels) >= 5 and all(line.split()[2] in first.stdout for line in kernels), lines)
    second = compile_to("second", now, "--tune-cache", cache, "--explain", "tune")
    check((work / "first").read_bytes() == (work / "second").read_bytes(), "the file at hand, other bytes")
    check(first.stdout == second.stdout and cache.read_text().splitlines() == lines, "the file at hand, measured again")
    compile_to("third", known_only, "--tune-cache", cache)
    check((work / "first").read_bytes() == (work / "third").read_bytes(), "--tune=0, other bytes")

    # Every product with a choice that nobody would make: the same numbers.
    plan = compile_to("o.ir", "--emit", "ir", known_only, "--tune-cache", work / "absent", "--explain", "tune", model="large").stdout
    check("not measured" in plan and not (work / "absent").exists(), plan)
    products = [line.split() for line in plan.splitlines()[2:] if line[:16].strip("0123456789abcdef") == ""]
    steps = {words[0]: int(words[words.index("Winograd") + 1].strip(",")) if "Winograd" in words else 0 for words in products}
    check(len(steps) > 12 and {0} < set(steps.values()), plan)

    def tuned(tiles, step=None):
        forced.write_text("\n".join([lines[0], machine] + [
            f"kernel {machine.split()[1]} {key} winograd {planned if step is None else step} tiles {tiles} us 2.0 1.0 by hand"
            for key, planned in steps.items()]) + "\n")
        p = compile_to("program", known_only, "--tune-cache", forced, "--explain", "tune", model="large")
        return p.stdout, p.stderr, train("program")

    compile_to("plain", model="large")
    plain = train("plain")
    family = re.search(r"\((\w+)\), features", machine)[1]
    for tiles in [f"4x{LANES[family]}/16,16,16", f"2x{2 * LANES[family]}/48,32,24"] if family in LANES else ():
        out, errors, losses = tuned(tiles)
        check(out.count("-> ") > 12 and f"tile {tiles.replace('/', ', block ')}" in out and not errors, f"{tiles}: {out}{errors}")
        check(losses == plain, f"{tiles}: losses {losses}, not {plain}")
        check(train("program", 1) == losses, f"{tiles}: losses depend on the number of threads")
    for step in (0, 2, 4):
        out, errors, losses = tuned("model", step)
        check((f"Winograd {step}" in out) == (step > 0), f"Winograd {step}: {out}")
        check(np.allclose(losses, plain, rtol=1e-4), f"Winograd {step}: losses {losses}, not {plain}")
        check(not step or "the line is ignored" in errors, f"Winograd {step} for matrix products: {errors}")
    out, errors, losses = tuned("direct", 0)
    check("-> element by element" in out and np.allclose(losses, plain, rtol=1e-4), f"direct: {out} {losses}, not {plain}")
    compile_to("o.ir", "--emit", "ir", known_only, "--tune-cache", forced, model="large")
    check("tiles=[0,0,0,0,0]" in (work / "o.ir").read_text().replace(" ", ""), "the plan does not show the choice")

    # What cannot be.
    out, errors, losses = tuned("32x64/16,16,16")
    check(re.search(r"forced:\d+: warning: expected a choice that .* has, found another one; the line is ignored", errors), errors)
    check((work / "program").read_bytes() == (work / "plain").read_bytes(), "impossible tiles change the program")
    damage = ["nonsense", "kernel", "kernel 0123456789abcdef 0123456789abcdef winograd 0 tiles model us 1.0 1.0 x",
              "machine 0123456789abcdef of another text", kernels[0].replace("us ", "us -"), kernels[0].replace("tiles ", "tiles 9x"),
              "\x01", "x" * 5000, "kernel " + "9" * 400, kernels[0][: len(kernels[0]) // 2]]
    (work / "damaged").write_text("\n".join(lines + damage))
    p = compile_to("damaged_program", known_only, "--tune-cache", work / "damaged")
    for i in range(5):
        check(f"damaged:{len(lines) + 1 + i}: warning: expected" in p.stderr, f"damage {i}: {p.stderr}")
    check(f"warning: {len(damage) - 5} more lines are ignored" in p.stderr, p.stderr)
    check((work / "damaged_program").read_bytes() == (work / "first").read_bytes(), "damage changes the program")
    for content in (b"an important text\n", b"\x7fELF", b"tfcc tuning 2\n"):
        (work / "other").write_bytes(content)
        p = compile_to("none", "--tune", "--tune-cache", work / "other", ok=False)
        check(p.returncode == 1 and 'other: expected a file whose first line is "tfcc tuning 1"' in p.stderr, p.stderr)
        check((work / "other").read_bytes() == content and not (work / "none").exists(), "a file of somebody else's is replaced")
    p = compile_to("none", "--tune", "--tune-cache", work, ok=False)
    check(p.returncode == 1 and "cannot read" in p.stderr, p.stderr)

    # Targets that do not run here: an aarch64, or an x86-64 with a name that is not this one's.
    if "x86_64" in machine:
        other = ("--mcpu", "skylake-avx512" if "avx512" in family else "broadwell")
        p = compile_to("none", now, "--tune-cache", cache, *other, ok=False)
        check(p.returncode == 1 and "--tune: expected a processor that is this machine's" in p.stderr and not (work / "none").exists(), p.stderr)
        p = compile_to("there.o", "--emit", "obj", known_only, "--tune-cache", cache, *other, "--explain", "tune")
        there = p.stdout.splitlines()[1]
        known = replace(lines, r"^kernel \S+", f"kernel {there.split()[1]}")
        (work / "there").write_text("\n".join([there if line == machine else line for line in known]))
        p = compile_to("there.o", "--emit", "obj", now, "--tune-cache", work / "there", *other, ok=False)
        check(p.returncode == 0 and (work / "there.o").exists(), f"a file that answers for another target: {p.stderr}")

    # Options.
    for options, wanted in ((["--tune=soon"], "--tune: expected [SECONDS][@BATCH]"), (["--tune=5@0"], "--tune: expected [SECONDS][@BATCH]"),
                            (["--explain", "tune"], "expected --tune or --tune-cache")):
        p = compile_to("none", *options, ok=False)
        check(p.returncode == 1 and wanted in p.stderr and not (work / "none").exists(), f"{options}: {p.stderr}")
check.report()
