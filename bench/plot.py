#!/usr/bin/env python3
"""Draws the steps of bench/performance.json: `plot.py FIGURES.json OUT.svg`. A panel for each mode and number of threads; a row for each
model; a point for each peer at its step time / tfcc's, least and median."""
import json
import sys

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams.update({"svg.hashsalt": "tfcc", "svg.fonttype": "none", "font.size": 8})
import matplotlib.pyplot as pyplot
from compare import PEERS


def panel(axes, rows, title):
    for peer in PEERS:
        found = [(i, r["peers"][peer], r["tfcc"]) for i, r in enumerate(rows) if peer in r["peers"]]
        least = axes.plot([p["min"] / own["min"] for _, p, own in found], [i for i, *_ in found], "o", markersize=4, label=peer)[0]
        axes.plot([p["median"] / own["median"] for _, p, own in found], [i for i, *_ in found], "o", markersize=4, fillstyle="none", color=least.get_color())
    for at, style in ((1, "-"), (2, "--")):
        axes.axvline(at, color="black", linewidth=0.6, linestyle=style)
    axes.set(title=title, xscale="log", yticks=range(len(rows)), yticklabels=[f"{r['model']}, {r['batch']}" for r in rows], ylim=(len(rows) - 0.5, -0.5))
    axes.set_xticks([0.5, 1, 2, 4, 8, 16, 32], ["0.5", "1", "2", "4", "8", "16", "32"], minor=False)
    axes.set_xticks([], minor=True)
    axes.grid(axis="y", linewidth=0.3)


def main():
    steps = json.load(open(sys.argv[1]))["steps"]
    kinds = sorted({(r["mode"], r["threads"]) for r in steps}, key=lambda kind: (kind[0] != "train", -kind[1]))
    figure, grid = pyplot.subplots((len(kinds) + 1) // 2, 2, figsize=(10, 3.2 * ((len(kinds) + 1) // 2)), squeeze=False, sharex=True)
    for axes in grid.flat[len(kinds):]:
        axes.axis("off")
    for axes, (mode, threads) in zip(grid.flat, kinds):
        panel(axes, [r for r in steps if (r["mode"], r["threads"]) == (mode, threads)], f"{'training' if mode == 'train' else 'inference'}, {threads} thread{'s' * (threads > 1)}")
    figure.supxlabel("a peer's step time / tfcc's (filled: least, hollow: median); right of 1 tfcc is faster")
    figure.legend(*grid.flat[0].get_legend_handles_labels(), loc="upper center", ncols=len(PEERS), frameon=False)
    figure.tight_layout(rect=(0, 0, 1, 0.96))
    figure.savefig(sys.argv[2], metadata={"Date": None})


if __name__ == "__main__":
    sys.exit(main())
