#!/usr/bin/env python3
"""docs/coverage.md is what the compiler's tables say.

    coverage_doc.py TFCC SOURCE_DIR            fails when docs/coverage.md is stale
    coverage_doc.py TFCC SOURCE_DIR --write    writes it

The tables are those that `tfcc --list-KIND` prints; the models of keras.applications are lines of the same form in
tests/applications/table.txt, where a model may also be "failed" or "not run": it counts in the total alone.
"""
import subprocess
import sys
from pathlib import Path

KINDS = [  # of --list-, title, what a row is
    ("layers", "Layers", "classes of keras.layers, with the containers and the few names that only Keras 2 writes"),
    ("ops", "Operations", "classes of operations that the functions of keras.ops put into a model"),
    ("optimizers", "Optimizers", "classes of keras.optimizers"),
    ("schedules", "Learning rate schedules", "classes of keras.optimizers.schedules"),
    ("losses", "Losses", "classes of keras.losses, and their functions"),
    ("metrics", "Metrics", "classes of keras.metrics, and their functions"),
    ("activations", "Activations", "functions of keras.activations"),
    ("initializers", "Initializers", "classes of keras.initializers"),
    ("regularizers", "Regularizers", "classes of keras.regularizers"),
    ("constraints", "Constraints", "classes of keras.constraints"),
    ("applications", "Applications", "models of keras.applications"),
    ("keras2-layers", "Layers of Keras 2 for functions", "classes that stand for a call of TensorFlow"),
    ("tf-symbols", "Functions of TensorFlow", "functions below `tf.` in models of Keras 2"),
]
HEAD = """# Coverage
What of Keras 3.15 a model may hold, from the compiler's tables: `tfcc --list-layers`, `--list-ops` and so on print the same. This file
is generated (`tests/coverage_doc.py TFCC . --write`), and a test compares the tables with what the installed Keras exports.

"""


def lines_of(tfcc, source, kind):
    if kind == "applications":
        table = source / "tests" / "applications" / "table.txt"
        return table.read_text().splitlines() if table.exists() else []
    return subprocess.run([tfcc, "--list-" + kind], check=True, capture_output=True, text=True).stdout.splitlines()


def read_kind(tfcc, source, kind):
    """Names that are supported, (name, reason) of those that are refused, and {state: names} of the others."""
    supported, refused, others = [], [], {}
    for line in lines_of(tfcc, source, kind):
        name, state = line.split(maxsplit=1)
        if state == "supported":
            supported.append(name)
        elif state.startswith("refused: "):
            refused.append((name, state.removeprefix("refused: ")))
        else:
            others.setdefault(state, []).append(name)
    return supported, refused, others


def wrapped(words, width=120):
    lines, line = [], ""
    for i, word in enumerate(words):
        word += "," if i + 1 < len(words) else "."
        if line and len(line) + 1 + len(word) > width:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}" if line else word
    return "\n".join(lines + [line])


def refusals(refused):
    """A row for each reason, in the order in which they first come."""
    reasons = {}
    for name, reason in refused:
        reasons.setdefault(reason, []).append(name)
    rows = "".join(f"| {', '.join(names)} | {reason} |\n" for reason, names in reasons.items())
    return "\n| refused | because |\n|---|---|\n" + rows


def document(tfcc, source):
    counts = "| kind | supported | refused with a reason | total | of |\n|---|---|---|---|---|\n"
    sections = ""
    for kind, title, what in KINDS:
        supported, refused, others = read_kind(tfcc, source, kind)
        total = len(supported) + len(refused) + sum(map(len, others.values()))
        if not total:
            continue
        counts += f"| {title} | {len(supported)} | {len(refused)} | {total} | {what} |\n"
        sections += f"\n## {title}\n" + (wrapped(sorted(supported)) + "\n" if supported else "")
        sections += refusals(refused) if refused else ""
        sections += "".join(f"\n{state.capitalize()}: {wrapped(sorted(names))}\n" for state, names in sorted(others.items()))
    return HEAD + counts + sections


def main():
    tfcc, source = sys.argv[1], Path(sys.argv[2])
    path, text = source / "docs" / "coverage.md", document(tfcc, source)
    if "--write" in sys.argv:
        path.write_text(text)
    elif not path.exists() or path.read_text() != text:
        print(f"docs/coverage.md is stale: run {Path(__file__).name} TFCC {source} --write")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
