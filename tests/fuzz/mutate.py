#!/usr/bin/env python3
"""Mutations of valid model files: the compiler refuses them with diagnostics, or takes them; it never crashes or hangs.

    mutate.py --tfcc PATH [--models DIR] [--seed S] [--count N] [--minutes M] [--keep DIR]

Every seed changes one model.json below DIR (the conformance cases) in a few places: fields gone, doubled, renamed, exchanged, of
another type, huge, deeply nested; or its text. `tfcc check` must end with 0 or 1, in time and within 2 GB of memory, with a
message when it is 1; of what it takes, some is compiled as far as the graph. Exit status 1 when anything else happened.
"""
import argparse
import copy
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
SECONDS, MEMORY = 60, 2 << 30
CLASSES = ["Dense", "Conv2D", "LSTM", "GRU", "Embedding", "Functional", "Sequential", "InputLayer", "Lambda", "Bidirectional", "TimeDistributed", "Add",
           "MultiHeadAttention", "BatchNormalization", "Reshape", "Dot", "Concatenate", "Adam", "Huber", "AUC", "L2", "function", "__tensor__", "__keras_tensor__",
           "slice", "__numpy__", "Take", "Matmul", "GetItem", "Nope"]
VALUES = [None, True, False, 0, -1, 1, 2, 3, 7, 64, 0.5, -0.5, 1e-30, 1e30, 1e308, -1e308, 2**31 - 1, 2**31, 2**53, 2**63, -2**63, 10**40, "", "x", "same", "causal",
          "float16", "int32", "string", "a" * 5000, "é\u0000\uffff", [], {}, [None], [0, 0], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10], [[1, 1], [1, 1]], {"class_name": "Dense"}]


def places(value, path, found):
    """Paths of everything inside a JSON value."""
    if isinstance(value, (dict, list)):
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            found.append((*path, key))
            places(value[key], (*path, key), found)
    return found


def get(value, path):
    for key in path:
        value = value[key]
    return value


def deep(r):
    value = 1
    for _ in range(r.randrange(10, 300)):
        value = [value] if r.random() < 0.5 else {"config": value}
    return value


def mutate_once(r, model, others):
    """Changes one place."""
    found = places(model, (), [])
    if not found:
        return
    path = found[r.randrange(len(found))]
    inside, key = get(model, path[:-1]), path[-1]
    what = r.randrange(10)
    if what == 0:
        del inside[key]
    elif what == 1 and isinstance(inside, list):
        inside.insert(key, copy.deepcopy(inside[key]))
    elif what == 2 and isinstance(inside, dict):
        inside[str(VALUES[r.randrange(20)]) if r.random() < 0.3 else key[:-1] + "x"] = inside.pop(key)
    elif what == 3:
        inside[key] = copy.deepcopy(get(model, found[r.randrange(len(found))]))
    elif what == 4:
        other = others[r.randrange(len(others))]
        inside[key] = copy.deepcopy(get(other, (p := places(other, (), []))[r.randrange(len(p))]))
    elif what == 5:
        inside[key] = deep(r)
    elif what in (6, 7) and isinstance(inside[key], (int, float)) and not isinstance(inside[key], bool):
        inside[key] = inside[key] + r.randrange(-3, 4) if what == 6 else -inside[key] * 10 ** r.randrange(0, 9)
    elif what == 8 and isinstance(inside[key], str):
        inside[key] = CLASSES[r.randrange(len(CLASSES))]
    else:
        inside[key] = copy.deepcopy(VALUES[r.randrange(len(VALUES))])


def mutated(seed, models):
    """The text of one mutated model."""
    r = random.Random(seed)
    text = models[r.randrange(len(models))].read_text()
    if r.random() < 0.85:
        model = json.loads(text)
        others = [json.loads(models[r.randrange(len(models))].read_text())]
        for _ in range(r.randrange(1, 5)):
            mutate_once(r, model, others)
        return json.dumps(model).encode()
    data = bytearray(text.encode())
    for _ in range(r.randrange(1, 4)):
        at, what = r.randrange(len(data)), r.randrange(4)
        if what == 0:
            data[at] = r.randrange(256)
        elif what == 1:
            del data[at:at + r.randrange(1, 200)]
        elif what == 2:
            data[at:at] = [b"[", b'{"a":', b"9" * 400, b'"', b"\\u0000", b"1e999"][r.randrange(6)] * r.randrange(1, 3000)
        else:
            del data[at:]
        if not data:
            break
    return bytes(data)


def limit():
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def run(argv, limited):
    """What went wrong, or None, and the exit status."""
    try:
        p = subprocess.run(argv, capture_output=True, timeout=SECONDS, preexec_fn=limit if limited else None)
    except subprocess.TimeoutExpired:
        return f"runs longer than {SECONDS} s", None
    text = p.stderr.decode("utf-8", "replace")
    if p.returncode not in (0, 1):
        return f"exit {p.returncode}: {text[:600]}", p.returncode
    if p.returncode == 1 and not text.strip():
        return "refused without a message", 1
    if "Sanitizer" in text or "runtime error" in text:
        return text[:600], p.returncode
    return None, p.returncode


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--tfcc", required=True)
    p.add_argument("--models", type=Path, default=HERE.parent / "conformance")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--count", type=int, default=10**9)
    p.add_argument("--minutes", type=float, default=10**6)
    p.add_argument("--keep", type=Path)
    p.add_argument("--sanitizers", action="store_true", help="tfcc was built with them: no limit of address space")
    a = p.parse_args()
    models = sorted(m for m in a.models.glob("*/*/model.json") if m.stat().st_size < 60000)
    if not models:
        sys.exit(f"no model.json below {a.models}")
    start, bad, taken, seed = time.monotonic(), 0, 0, a.seed
    with tempfile.TemporaryDirectory() as t:
        path, out = Path(t) / "model.json", Path(t) / "out.tir"
        while seed < a.seed + a.count and time.monotonic() < start + 60 * a.minutes:
            text = mutated(seed, models)
            path.write_bytes(text)
            wrong, status = run([a.tfcc, "check", str(path)], not a.sanitizers)
            taken += status == 0
            if status == 0 and seed % 2 == 0:
                wrong, _ = run([a.tfcc, "compile", str(path), "--emit", "ir", "-o", str(out)], not a.sanitizers)
            if wrong:
                bad += 1
                print(f"seed {seed}: {wrong}", flush=True)
                if a.keep:
                    a.keep.mkdir(parents=True, exist_ok=True)
                    (a.keep / f"mutation{seed}.json").write_bytes(text)
            seed += 1
    print(f"{seed - a.seed} mutations, {taken} taken, {bad} wrong ({time.monotonic() - start:.0f} s)")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
