#!/usr/bin/env python3
"""Step time of tfcc beside its peers: the same models, interleaved in one run, reported as ratios.

    python3 bench/compare.py [--models mlp,cnn] [--peers all] [--mode train|infer] [--threads T] [--batch-size B] [--rounds N]
                             [--seconds S] [--isa native|avx2] [--tfcc PATH] [--json OUT] [--against BEFORE.json] [--profile FOLDER]

Sets up its own Python environment under build/bench-venv with the peers. A ratio is the peer's time divided by tfcc's: above 1,
tfcc is faster. `--json` keeps the figures; `--against` prints what changed since such a file, as ratios of ratios to the same
peers, which different machines may share. `--profile` writes each model's table of kernels there. With `--isa avx2` tfcc generates
AVX2 code and the peers are told to use nothing newer (what each library does with that is its own affair; Eigen inside TensorFlow
has no wider code anyway).
"""
import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "bench"))
from models import MODELS

# name: (script, environment)
PEERS = {
    "tensorflow": ("keras_peer.py", dict(KERAS_BACKEND="tensorflow")),
    "tensorflow-xla": ("keras_peer.py", dict(KERAS_BACKEND="tensorflow", BENCH_COMPILE="1")),
    "jax": ("keras_peer.py", dict(KERAS_BACKEND="jax")),
    "pytorch": ("torch_peer.py", {}),
    "torch-compile": ("torch_peer.py", dict(BENCH_COMPILE="1")),
}

# what a machine with these instructions would run: options of tfcc and of cc, and the environment of the peers
ISAS = {
    "native": ([], ["-march=native"], {}),
    "avx2": (["--mcpu", "x86-64-v3"], ["-march=x86-64-v3"],
             dict(ONEDNN_MAX_CPU_ISA="AVX2", ATEN_CPU_CAPABILITY="avx2", MKL_ENABLE_INSTRUCTIONS="AVX2", XLA_FLAGS="--xla_cpu_max_isa=AVX2")),
}


def environment():
    folder = ROOT / "build" / "bench-venv"
    python = folder / "bin" / "python"
    if not (folder / "ready").exists():
        venv.create(folder, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "-q", "keras==3.15.*", "tensorflow-cpu", "jax", "torch", "numpy", "matplotlib"], check=True)
        (folder / "ready").touch()
    return python


class Peer:
    """A process with one peer and one model; None answers when it cannot run the model."""

    def __init__(self, python, name, model, batch, a):
        script, extra = PEERS[name]
        env = dict(os.environ, TF_CPP_MIN_LOG_LEVEL="3", BENCH_THREADS=str(a.threads), OMP_NUM_THREADS=str(a.threads), **ISAS[a.isa][2], **extra)
        if name == "jax":
            threads = f"--xla_cpu_multi_thread_eigen={'true' if a.threads > 1 else 'false'} intra_op_parallelism_threads={a.threads}"
            env["XLA_FLAGS"] = f"{env.get('XLA_FLAGS', '')} {threads}"
        command = [python, ROOT / "bench/peers" / script, model, str(batch), a.mode]
        if a.threads < os.cpu_count():
            command = ["taskset", "-c", f"0-{a.threads - 1}", *command]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=env, text=True)
        self.alive = self.read() == "ready"

    def read(self):
        for line in self.process.stdout:
            if line[0] in '{"':
                return json.loads(line)
        return None

    def run(self, seconds):
        self.process.stdin.write(f"{seconds}\n")
        self.process.stdin.flush()
        return self.read()

    def stop(self):
        self.process.stdin.close()
        self.process.wait()


def compile_model(a, python, model):
    source, program = ROOT / f"build/bench-{model}.json", ROOT / f"build/bench-{model}"
    subprocess.run([python, ROOT / "bench/models.py", model, source], check=True, stderr=subprocess.DEVNULL)
    start = time.perf_counter()
    subprocess.run([a.tfcc, "compile", source, "-o", program, *ISAS[a.isa][0]], check=True)
    return program, time.perf_counter() - start


def run_ours(a, program, batch, *extra):
    command = [program, "bench", "--batch-size", str(batch), "--seconds", str(a.seconds), "--threads", str(a.threads), "--mode", a.mode, *extra]
    if a.threads < os.cpu_count():
        command = ["taskset", "-c", f"0-{a.threads - 1}", *command]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return json.loads(out.splitlines()[-1]) if "--json" in extra else out


PRODUCTS = ("dot ", "convolution ", "attention")
KERNEL = re.compile(r"\s*([\d.]+)\s+[\d.]+%\s+\d+\s+([\d.]+)\s+([\d.]+)\s+(.*)")


def read_profile(text):
    """(name, microseconds, GFLOP/s, GB/s) of every kernel that --profile-kernels printed."""
    found = [KERNEL.match(line) for line in text.splitlines()]
    return [(m[4], float(m[1]), float(m[2]), float(m[3])) for m in found if m]


def measure(model, a, python):
    batch = a.batch_size or MODELS[model][1]
    program, compile_seconds = compile_model(a, python, model)
    stripped = program.with_suffix(".stripped")
    subprocess.run(["strip", "-o", stripped, program], check=True)
    peers = {name: Peer(python, name, model, batch, a) for name in a.peers}
    for name in [n for n, p in peers.items() if not p.alive]:
        print(f"{model}: {name} cannot run it", file=sys.stderr)
        peers.pop(name)
    ours, theirs = [], {name: [] for name in peers}
    for _ in range(a.rounds):
        ours.append(run_ours(a, program, batch, "--json"))
        for name, peer in peers.items():
            theirs[name].append(peer.run(a.seconds))
    for peer in peers.values():
        peer.stop()
    profile = run_ours(a, program, batch, "--profile-kernels")
    if a.profile:
        (a.profile / f"{model}.txt").write_text(profile)
    products = sum(us * rate * 1e-6 for name, us, rate, _ in read_profile(profile) if any(f": {kind}" in name for kind in PRODUCTS))
    least = min(o["step_ms"]["min"] for o in ours)
    middle = statistics.median(o["step_ms"]["median"] for o in ours)
    row = dict(model=model, batch=batch, mode=a.mode, threads=a.threads, compile_seconds=round(compile_seconds, 3),
               stripped_mb=round(stripped.stat().st_size / 1e6, 2), first_step_ms=min(o["first_step_ms"] for o in ours), gflop=round(products, 3),
               tfcc=dict(min=least, median=middle, peak_rss_mb=max(o["peak_rss_mb"] for o in ours)), peers={})
    for name, rounds in theirs.items():
        row["peers"][name] = dict(min=min(min(r["ms"]) for r in rounds), median=statistics.median(statistics.median(r["ms"]) for r in rounds),
                                  peak_rss_mb=max(r["peak_rss_mb"] for r in rounds))
    return row


def ratio(row, peer, kind):
    return row["peers"][peer][kind] / row["tfcc"][kind]


def print_row(row):
    def cells(kind):
        return " ".join(f"{ratio(row, p, kind):>6.2f}" if p in row["peers"] else f"{'-':>6}" for p in PEERS)
    best = min((q["min"] for q in row["peers"].values()), default=float("nan"))
    print(f"{row['model']:<12} min    {cells('min')}   {row['tfcc']['min'] / best:>6.2f}   {row['compile_seconds']:>7.2f} s {row['stripped_mb']:>6.2f} MB "
          f"{row['first_step_ms']:>8.0f} ms")
    print(f"{'':<12} median {cells('median')}\n{'':<12} memory {cells('peak_rss_mb')}", flush=True)


def compare(rows, before):
    known = {(r["model"], r["mode"], r["threads"], r["batch"]): r for r in before}
    print("\nratios now / ratios before (above 1: better than before)")
    for r in rows:
        old = known.get((r["model"], r["mode"], r["threads"], r["batch"]))
        both = [p for p in r["peers"] if old and p in old["peers"]]
        print(f"{r['model']:<12}", *(f"{p} {ratio(r, p, 'min') / ratio(old, p, 'min'):.2f}" for p in both))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--models", default="mlp,cnn", help="comma-separated, or all: " + ",".join(MODELS))
    p.add_argument("--peers", default="all", help="comma-separated, or all: " + ",".join(PEERS))
    p.add_argument("--mode", default="train", choices=("train", "infer"))
    p.add_argument("--batch-size", type=int)
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--seconds", type=float, default=3)
    p.add_argument("--threads", type=int, default=os.cpu_count())
    p.add_argument("--isa", default="native", choices=ISAS)
    p.add_argument("--tfcc", default=ROOT / "build/release/bin/tfcc")
    p.add_argument("--json", type=Path)
    p.add_argument("--against", type=Path)
    p.add_argument("--profile", type=Path)
    a = p.parse_args()
    a.peers = list(PEERS) if a.peers == "all" else [name for name in a.peers.split(",") if name]
    python, rows = environment(), []
    print(f"the peer's figure / tfcc's ({a.mode}, {a.threads} threads); best: tfcc's least step time / the best peer's")
    print(f"{'':<19} {' '.join(f'{n[:6]:>6}' for n in PEERS)}   {'best':>6}   compile    program  first step")
    for model in list(MODELS) if a.models == "all" else a.models.split(","):
        rows.append(measure(model, a, python))
        print_row(rows[-1])
        if a.json:
            a.json.write_text(json.dumps(rows, indent=1) + "\n")
    if a.against:
        before = json.loads(a.against.read_text())
        compare(rows, before["steps"] if isinstance(before, dict) else before)


if __name__ == "__main__":
    sys.exit(main())
