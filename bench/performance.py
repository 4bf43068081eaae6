#!/usr/bin/env python3
"""Measures everything that docs/performance.md shows and writes its tables and its plot.

    python3 bench/performance.py [--models M,...] [--peers P,...] [--modes train,infer] [--threads 1,2] [--rounds N] [--seconds S] [--isa native|avx2]
                                 [--skip PART,...] [--page-only]

Parts: steps (compare.py, training and inference), kernels (kernels.py), batches (examples a second from batch 1 to 256), compile
(compile_cost.py). The figures are kept in bench/performance.json, a row at a time, so that a part, a model or a mode can be measured again
alone; `compare.py --against` reads the rows of its steps. `--isa avx2` measures steps and kernels as if the machine had AVX2 only
(compare.py), into tables of their own. The text around the tables of the page is written by hand.
"""
import argparse
import json
import os
import subprocess
import sys
from datetime import date
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "bench"))
from compare import ISAS, PEERS, environment
from models import MODELS

PAGE, PLOT, FIGURES = ROOT / "docs/performance.md", ROOT / "docs/performance.svg", ROOT / "bench/performance.json"
BEGIN, END = "<!-- tables: bench/performance.py -->", "<!-- end of tables -->"
BATCHES, SCALING = (1, 4, 16, 64, 256), ("mlp", "cnn")


def script(name, *argv):
    """The figures of a script of this folder. Its status says whether targets were met, not whether there are figures."""
    out = ROOT / "build/performance.json"
    out.unlink(missing_ok=True)
    subprocess.run([environment(), ROOT / "bench" / name, *map(str, argv), "--json", out], check=False, env=dict(os.environ, TF_CPP_MIN_LOG_LEVEL="3"))
    return json.loads(out.read_text())


def processor():
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    values = {line.split(":")[0].strip(): line.split(":", 1)[1].strip() for line in lines if ":" in line}
    flags = values.get("flags", values.get("Features", "")).split()
    widest = next((name for name in ("avx512f", "avx2", "asimd") if name in flags), "")
    return f"{values.get('model name', 'unknown')}, {widest}, {os.cpu_count()} cores"


def versions():
    out = subprocess.run([environment(), "-m", "pip", "list", "--format", "json"], check=True, capture_output=True, text=True).stdout
    known = {p["name"].lower().replace("_", "-"): p["version"] for p in json.loads(out)}
    return {name: known[name] for name in ("keras", "tensorflow-cpu", "tensorflow", "jax", "torch") if name in known}


def merge(old, new, *key):
    """Rows of before, those with the same key replaced, and the rest of the new ones behind them; the order of a full run."""
    rows = {tuple(r[k] for k in key): r for r in [*(old or []), *new]}
    place = {name: i for i, name in enumerate(("train", "infer", *MODELS))}
    return sorted(rows.values(), key=lambda r: [place[r["mode"]], r["threads"], place[r["model"]]] if "mode" in r else r["threads"])


def steps(a, old):
    rows = []
    for mode in a.modes.split(","):
        for threads in a.threads:
            rows += script("compare.py", "--models", a.models, "--peers", a.peers, "--mode", mode, "--threads", threads, "--rounds", a.rounds, "--seconds", a.seconds,
                           "--isa", a.isa)
    return merge(old, rows, "model", "batch", "mode", "threads")


def kernels(a, old):
    return merge(old, [script("kernels.py", "--threads", t, "--rounds", a.rounds, "--seconds", min(a.seconds, 0.3), "--isa", a.isa) for t in a.threads], "threads")


def batches(a, _):
    """Milliseconds an example, by batch; the batches in turn, round by round, so that all meet the same states of the machine."""
    least = {model: {} for model in SCALING}
    for _ in range(a.rounds):
        for model, times in least.items():
            for b in BATCHES:
                row = script("compare.py", "--models", model, "--peers", "", "--batch-size", b, "--threads", a.threads[-1], "--rounds", 1, "--seconds", 1)[0]
                times[str(b)] = min(row["tfcc"]["min"] / b, times.get(str(b), float("inf")))
    return least


def compile_cost(*_):
    return script("compile_cost.py")


PARTS = {"steps": steps, "kernels": kernels, "batches": batches, "compile": compile_cost}
OF_ISA = ("steps", "kernels")  # the parts that are measured for other instructions too


def best(row):
    return min((q["min"] for q in row["peers"].values()), default=None)


def steps_table(f):
    rows, peak = f["steps"], {str(p["threads"]): p["machine"]["gflops"] for p in f.get("kernels", [])}
    yield "| model, batch | mode | threads | tfcc / best peer | " + " | ".join(PEERS) + " | arithmetic limit | memory / PyTorch's |"
    yield "|---" * (len(PEERS) + 6) + "|"
    for r in rows:
        own, cells = r["tfcc"]["min"], [f"{q['min'] / r['tfcc']['min']:.2f} ({q['median'] / r['tfcc']['median']:.2f})" if q else "" for q in map(r["peers"].get, PEERS)]
        limit = f"{r['gflop'] / peak[str(r['threads'])] * 1e3 / own:.2f}" if r.get("gflop") and str(r["threads"]) in peak else ""
        torch = r["peers"].get("pytorch")
        memory = f"{r['tfcc']['peak_rss_mb'] / torch['peak_rss_mb']:.2f}" if torch else ""
        yield f"| {r['model']}, {r['batch']} | {r['mode']} | {r['threads']} | {own / best(r) if best(r) else 0:.2f} | " + " | ".join(cells) + f" | {limit} | {memory} |"


def scaling_table(rows):
    yield "| model | mode | time at 1 thread / at 2 |"
    yield "|---|---|---|"
    one = {(r["model"], r["mode"]): r["tfcc"]["min"] for r in rows if r["threads"] == 1}
    for r in rows:
        if r["threads"] == 2 and (r["model"], r["mode"]) in one:
            yield f"| {r['model']} | {r['mode']} | {one[r['model'], r['mode']] / r['tfcc']['min']:.2f} |"


def kernels_table(found):
    for part in found:
        yield f"At {part['threads']} threads; limits {part['machine']['gflops']:.0f} GFLOP/s, {part['machine']['gbs']:.0f} GB/s:"
        yield ""
        yield "| operation | kernel | bound | share of the bound | tfcc's rate / PyTorch's |"
        yield "|---|---|---|---|---|"
        for r in part["rows"]:
            yield f"| {r['case']} | {r['kernel']} | {r['bound']} | {r['of_limit']:.2f} | " + (f"{r['of_torch']:.2f} |" if "of_torch" in r else "|")
        yield ""


def batches_table(found):
    yield "| model | " + " | ".join(f"batch {b}" for b in BATCHES) + " |"
    yield "|---" * (len(BATCHES) + 1) + "|"
    for model, times in found.items():
        yield f"| {model}, time an example / at batch {BATCHES[-1]} | " + " | ".join(f"{times[str(b)] / times[str(BATCHES[-1])]:.2f}" for b in BATCHES) + " |"


def compile_table(rows):
    yield "| model | time / Keras's | memory / Keras's |"
    yield "|---|---|---|"
    for r in rows:
        yield f"| {r['model']} | {r['tfcc']['seconds'] / r['keras']['seconds']:.2f} | {r['tfcc']['peak_mb'] / r['keras']['peak_mb']:.2f} |"


def first_table(rows):
    yield "| model | `tfcc compile`, s | program, MB | start to end of first step, ms |"
    yield "|---|---|---|---|"
    for r in rows:
        if r["mode"] == "train" and r["threads"] == max(q["threads"] for q in rows):
            yield f"| {r['model']} | {r['compile_seconds']:.2f} | {r['stripped_mb']:.2f} | {r['first_step_ms']:.0f} |"


def titled(title, table):
    yield from ("", f"### {title}", "")
    yield from table


def tables(f):
    yield f"Measured {f['date']} on {f['processor']}; peers: {', '.join(f'{k} {v}' for k, v in f['versions'].items())}."
    if "steps" in f:
        yield from ("", "### Steps", "", "Columns of peers: the peer's least step time / tfcc's (medians in parentheses), above 1 where tfcc is faster. Arithmetic limit: the time",
                    "that the step's products, convolutions and attention need at the machine's peak / tfcc's least step time.", "")
        yield from steps_table(f)
        yield from ("", f"![Step times of the peers beside tfcc's]({PLOT.name})")
        yield from titled("Threads", scaling_table(f["steps"]))
        yield from titled("Before the first step", first_table(f["steps"]))
    for key, title, table in (("kernels", "Kernels", kernels_table), ("batches", "Batches", batches_table), ("compile", "Compiling beside Keras", compile_table)):
        if key in f:
            yield from titled(title, table(f[key]))
    for isa, part in f.get("isa", {}).items():
        if "steps" in part:
            yield from titled(f"Steps with {isa} only", steps_table(part))
        if "kernels" in part:
            yield from titled(f"Kernels with {isa} only", kernels_table(part["kernels"]))


def write_page(figures):
    text = PAGE.read_text()
    before, rest = text.split(BEGIN)
    PAGE.write_text(before + BEGIN + "\n" + "\n".join(tables(figures)).rstrip() + "\n" + END + rest.split(END)[1])


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--models", default=",".join(MODELS))
    p.add_argument("--peers", default=",".join(PEERS))
    p.add_argument("--modes", default="train,infer")
    p.add_argument("--threads", default="1,2" if os.cpu_count() == 2 else f"1,2,{os.cpu_count()}")
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--seconds", type=float, default=3)
    p.add_argument("--isa", default="native", choices=ISAS)
    p.add_argument("--skip", default="", help="parts: " + ",".join(PARTS))
    p.add_argument("--page-only", action="store_true", help="write the tables and the plot from the figures of before")
    a = p.parse_args()
    a.threads = [int(t) for t in a.threads.split(",")]
    figures = json.loads(FIGURES.read_text()) if FIGURES.exists() else {}
    kept = figures if a.isa == "native" else figures.setdefault("isa", {}).setdefault(a.isa, {})
    for name, part in PARTS.items():
        if not a.page_only and name not in a.skip.split(",") and (a.isa == "native" or name in OF_ISA):
            figures.update(date=date.today().isoformat(), processor=processor(), versions=versions())
            kept[name] = part(a, kept.get(name))
            FIGURES.write_text(json.dumps(figures, indent=1) + "\n")
    write_page(json.loads(FIGURES.read_text()))
    subprocess.run([environment(), ROOT / "bench/plot.py", FIGURES, PLOT], check=True)


if __name__ == "__main__":
    sys.exit(main())
