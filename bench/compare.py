#!/usr/bin/env python3
"""Training-step time of tfcc beside its peers: the same models, interleaved in one run, reported as ratios.

    python3 bench/compare.py [--models mlp,cnn] [--rounds N] [--seconds S] [--threads T] [--tfcc PATH] [--json OUT]

Sets up its own Python environment under build/bench-venv with the peers. A ratio is the peer's time divided by tfcc's:
above 1, tfcc is faster.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "bench"))
from models import MODELS
PEERS = {"keras-tensorflow": "tensorflow"}


def environment():
    folder = ROOT / "build" / "bench-venv"
    python = folder / "bin" / "python"
    if not (folder / "ready").exists():
        venv.create(folder, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "-q", "keras==3.15.*", "tensorflow-cpu", "numpy"], check=True)
        (folder / "ready").touch()
    return python


class Peer:
    def __init__(self, python, backend, model, threads):
        env = dict(os.environ, KERAS_BACKEND=backend, TF_CPP_MIN_LOG_LEVEL="3", BENCH_THREADS=str(threads))
        self.process = subprocess.Popen([python, ROOT / "bench/peers/keras_peer.py", model], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=env, text=True)
        self.read()

    def read(self):
        while True:
            line = self.process.stdout.readline()
            if not line:
                raise SystemExit("a peer ended early")
            if line[0] in '["':
                return json.loads(line)

    def run(self, seconds):
        self.process.stdin.write(f"{seconds}\n")
        self.process.stdin.flush()
        return self.read()


def compile_model(tfcc, python, model):
    source, program = ROOT / f"build/bench-{model}.json", ROOT / f"build/bench-{model}"
    subprocess.run([python, ROOT / "bench/models.py", model, source], check=True, stderr=subprocess.DEVNULL)
    start = time.perf_counter()
    subprocess.run([tfcc, "compile", source, "-o", program], check=True)
    return program, time.perf_counter() - start


def measure(model, a, python):
    batch = MODELS[model][1]
    program, compile_seconds = compile_model(a.tfcc, python, model)
    stripped = program.with_suffix(".stripped")
    subprocess.run(["strip", "-o", stripped, program], check=True)
    peers = {name: Peer(python, backend, model, a.threads) for name, backend in PEERS.items()}
    ours, theirs = [], {name: [] for name in peers}
    for _ in range(a.rounds):
        out = subprocess.run([program, "bench", "--batch-size", str(batch), "--seconds", str(a.seconds),
                              "--threads", str(a.threads), "--json"], check=True, capture_output=True, text=True).stdout
        ours.append(json.loads(out.splitlines()[-1]))
        for name, peer in peers.items():
            theirs[name].append(peer.run(a.seconds))
    row = dict(model=model, threads=a.threads, compile_seconds=round(compile_seconds, 3),
               stripped_mb=round(stripped.stat().st_size / 1e6, 2),
               first_step_ms=min(o["first_step_ms"] for o in ours),
               tfcc=dict(min=min(o["step_ms"]["min"] for o in ours),
                         median=statistics.median(o["step_ms"]["median"] for o in ours)), peers={})
    for name, rounds in theirs.items():
        least, middle = min(map(min, rounds)), statistics.median(map(statistics.median, rounds))
        row["peers"][name] = dict(min=least, median=middle, ratio_min=least / row["tfcc"]["min"],
                                  ratio_median=middle / row["tfcc"]["median"])
    return row


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--models", default="mlp,cnn")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--seconds", type=float, default=3)
    p.add_argument("--threads", type=int, default=os.cpu_count())
    p.add_argument("--tfcc", default=ROOT / "build/release/bin/tfcc")
    p.add_argument("--json", type=Path)
    a = p.parse_args()
    python = environment()
    rows = [measure(m, a, python) for m in a.models.split(",")]
    print(f"{'model':<8}{'peer':<20}{'ratio min':>10}{'ratio median':>14}   (peer's step time / tfcc's, {a.threads} threads)")
    for r in rows:
        for name, q in r["peers"].items():
            print(f"{r['model']:<8}{name:<20}{q['ratio_min']:>10.2f}{q['ratio_median']:>14.2f}")
        print(f"{r['model']:<8}compile {r['compile_seconds']} s, stripped program {r['stripped_mb']} MB, "
              f"start to first step {r['first_step_ms']:.0f} ms")
    if a.json:
        a.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
