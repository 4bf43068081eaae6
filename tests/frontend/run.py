#!/usr/bin/env python3
"""Every NAME.json here is refused (or accepted, when NAME.err is empty) with exactly the diagnostics of NAME.err.

    run.py TFCC [--bless]
"""
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def main():
    bless = "--bless" in sys.argv
    failed = passed = 0
    for model in sorted(HERE.glob("*.json")):
        p = subprocess.run([sys.argv[1], "check", model.name], cwd=HERE, capture_output=True, timeout=60)
        got = p.stderr.decode("utf-8", "replace")
        expected = model.with_suffix(".err")
        if bless:
            expected.write_text(got)
        want = expected.read_text() if expected.exists() else "(no .err file)\n"
        status = 1 if want else 0
        if got == want and p.returncode == status:
            passed += 1
            continue
        failed += 1
        print(f"{model.name}: exit {p.returncode}, expected {status}\ngot:\n{got}want:\n{want}")
    print(f"{passed} passed, {failed} failed")
    return failed > 0 or passed == 0


if __name__ == "__main__":
    sys.exit(main())
