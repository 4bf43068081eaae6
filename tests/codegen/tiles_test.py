#!/usr/bin/env python3
"""The innermost loops of the register tiles keep what they sum in registers on AVX2, AVX-512 and NEON: read in the assembly of
models that need tiles of every kind: operands packed, read where they lie, in place of a panel that is filled on the way, for few
rows, for narrow results, results written in place or past the caches, and Winograd's. No loop touches the stack, but for one thing: a tile
whose rows are anywhere in memory has as many addresses as rows, and x86-64 has 15 registers for them and all else, so
that tiles of 14 rows read some addresses, and nothing else, from there."""
import json
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "train"))
from program import Checks, folder, run

check = Checks()
tfcc = sys.argv[1]
X86 = dict(multiply=r"\bv?fn?madd\w*ps\b", jump=r"\s+j\w+\s+(\.L\w+)", stack=r"%[re]sp\b", addresses=r"\s+(?:movq|addq|cmpq)\s+-?\d*\(%rsp\), %r\w+$")
ARM = dict(multiply=r"\bfmla\b", jump=r"\s+(?:b\.?\w*|cbn?z\s+\w+,|tbn?z\s+\w+, [^,]+,)\s+(\.L\w+)", stack=r"\bw?sp\b", addresses=None)
TARGETS = {"x86-64-v3": (("--mcpu", "x86-64-v3"), X86), "x86-64-v4": (("--mcpu", "x86-64-v4"), X86),
           "aarch64": (("--triple", "aarch64-linux-gnu", "--mcpu", "generic"), ARM)}
KINDS = ("pointers", "ahead", "apart", "adds", "streams", "copies", r"\d_[24]$", "of_", r"fill_\w*a", r"fill_\w*b", "fill_pointers")


def model(work, name, shape, *layers):
    """A Sequential that is trained, so that its gradients are compiled too."""
    named = []
    for i, (kind, config) in enumerate(layers):
        named.append({"class_name": kind, "config": {"name": f"{kind.lower()}_{i}", **config}})
    start = {"class_name": "InputLayer", "config": {"name": "x", "batch_shape": [None, *shape], "dtype": "float32"}}
    compiled = {"optimizer": {"class_name": "SGD", "config": {"learning_rate": 0.1}}, "loss": "mean_squared_error"}
    path = work / f"{name}.json"
    path.write_text(json.dumps({"class_name": "Sequential", "config": {"name": name, "layers": [start, *named]}, "compile_config": compiled}))
    return path


def loops(function):
    """Instructions of the loops without a loop or a label in them."""
    label, turn = None, []
    for line in function.splitlines():
        begins = re.match(r"(\.L\w+):", line)
        if begins:
            label, turn = begins[1], []
            continue
        turn.append(line)
        back = re.match(jump, line)
        if back and back[1] == label:
            yield turn
            label, turn = None, []


def check_function(where, name, text):
    """Every tile has a loop that multiplies."""
    place = stack + (r"|\[x29" if re.search(r"\bx29, sp\b", text) else "")  # else a register like any other
    inner = [turn for turn in loops(text) if any(re.search(multiply, line) for line in turn)]
    check(inner, f"{where}: {name} has no loop")
    for line in (line for turn in inner for line in turn if re.search(place, line)):
        check(addresses and "_pointers_" in name and re.match(addresses, line), f"{where}: {name} touches the stack:{line}")


with folder() as work:
    work = Path(work)
    dense = model(work, "dense", (8, 240), ("Dense", dict(units=256, activation="relu")), ("Dense", dict(units=1024)), ("Dense", dict(units=512)),
                  ("Dense", dict(units=10)))
    rows = model(work, "rows", (784,), ("Dense", dict(units=512, activation="relu")), ("Dense", dict(units=40)), ("Dense", dict(units=7)))
    image = model(work, "image", (20, 20, 24), ("Conv2D", dict(filters=64, kernel_size=[3, 3], padding="same")),
                  ("Conv2D", dict(filters=36, kernel_size=[5, 5], padding="same")), ("Conv2D", dict(filters=96, kernel_size=[1, 1])))
    steps = model(work, "steps", (12, 64), ("LSTM", dict(units=128)), ("Dense", dict(units=4)))
    for cpu, (options, tools) in TARGETS.items():
        multiply, jump, stack, addresses = tools.values()
        names = set()
        for source in (dense, rows, image, steps):
            run(tfcc, "compile", source, "-o", work / "code.s", "--emit", "asm", *options)
            for name, text in re.findall(r"^(\w*tile_\w+):(.*?)^\.Lfunc_end", (work / "code.s").read_text(), re.S | re.M):
                names.add(name)
                check_function(f"{cpu}: {source.stem}", name, text)
        # 12 columns are not whole lines of memory; AVX2 has too few multiply-adds at a position to copy meanwhile, NEON too many rows
        absent = {"x86-64-v3": ("copies",), "x86-64-v4": (), "aarch64": ("streams", "copies")}[cpu]
        for kind in (k for k in KINDS if k not in absent):
            check(any(re.search(kind, name) for name in names), f"{cpu}: no tile is {kind}: {sorted(names)}")
check.report()
