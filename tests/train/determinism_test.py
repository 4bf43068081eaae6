#!/usr/bin/env python3
"""The same input gives the same bytes: objects, programs and libraries of two compilations, and the weights after training with 1, 2 and 5
threads and from run to run."""
import random
import struct
import sys
import zipfile
from array import array
from pathlib import Path

from program import MODELS, Checks, compile_model, folder, run

check = Checks()


def write_arrays(path, **shapes):
    """Arrays of random f4 as an .npz."""
    rng = random.Random(1)
    with zipfile.ZipFile(path, "w") as z:
        for name, shape in shapes.items():
            count = 1
            for size in shape:
                count *= size
            head = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
            z.writestr(f"{name}.npy", b"\x93NUMPY\1\0" + struct.pack("<H", len(head)) + head.encode() +
                       array("f", (rng.gauss(0, 1) for _ in range(count))).tobytes())


with folder() as work:
    work = Path(work)
    for name, data in (("digits_cnn", "digits_train.npz"), ("sonnets_transformer", "sonnets.npz")):
        model = MODELS / f"{name}.json"
        for kind, written in (("obj", ["net"]), ("exe", ["net"]), ("lib", ["libnet.a", "net.h"])):
            out = [work / f"{name}-{kind}-{i}" for i in range(2)]
            for o in out:
                o.mkdir()
                compile_model(sys.argv[1], model, o / "net", "--emit", kind, "--mcpu", "x86-64-v3")
            for file in written:
                check((out[0] / file).read_bytes() == (out[1] / file).read_bytes(),
                      f"{name}: two compilations to {kind} differ in {file}")
        program = compile_model(sys.argv[1], model, work / name)
        histories = []
        for threads in (1, 2, 5, 2):
            run(program, "fit", "--data", MODELS / data, "--weights", MODELS / "reference" / f"{name}.weights.h5", "--epochs", 1,
                "--seed", 3, "--threads", threads, "--history", work / "h.json", "--verbose", 0)
            histories.append((work / "h.json").read_bytes())
        for threads, h in zip((2, 5, 2), histories[1:]):
            check(h == histories[0], f"{name}: history with {threads} threads differs from that with 1")
    program = compile_model(sys.argv[1], Path(__file__).resolve().parent / "determinism_recurrent.json", work / "recurrent")
    write_arrays(work / "r.npz", x=(101, 40, 5), y=(101, 3))
    for batch in (9, 37, 64):
        weights = []
        for threads in (1, 2, 3, 5, 2):
            run(program, "fit", "--data", work / "r.npz", "--epochs", 1, "--batch-size", batch, "--seed", 3, "--threads", threads,
                "--save", work / "r.weights.h5", "--verbose", 0)
            weights.append((work / "r.weights.h5").read_bytes())
        check(all(w == weights[0] for w in weights), f"recurrent layers, batches of {batch}: weights differ with the number of threads")
check.report()
