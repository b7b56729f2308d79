"""`python -m tests.fuzz [TARGET ...]`: coverage-guided fuzzing of every parser of foreign bytes (`make fuzz`).

Each target runs in a process of its own. What breaks a promise is written to `.fuzz/<target>/crash-...`, with the
exception before it; `--replay FILE TARGET` gives one target that file again.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT / name) for name in ("fuzz", "providers", "journal")]


def main() -> int:
    """Run the targets that are named, or all; the exit code is how many failed."""
    options = argparse.ArgumentParser(prog="python -m tests.fuzz")
    options.add_argument("targets", nargs="*", metavar="TARGET")
    options.add_argument("--seconds", type=int, default=120, help="how long each target runs")
    options.add_argument("--corpus", type=Path, default=Path(".fuzz"), help="where inputs are kept between runs")
    options.add_argument("--replay", type=Path, help="give the target this one input, without a fuzzer")
    options.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.one:
        return _fuzz(chosen.targets[0], chosen.corpus, chosen.seconds)
    from fuzz_books import BOOK_TARGETS
    from fuzz_targets import TARGETS

    every = {**TARGETS, **BOOK_TARGETS}
    unknown = [name for name in chosen.targets if name not in every]
    if unknown:
        options.error(f"no target {', '.join(unknown)}; there are {', '.join(every)}")
    if chosen.replay is not None:
        every[chosen.targets[0]](chosen.replay.read_bytes())
        return 0
    try:
        import atheris  # noqa: F401
    except ImportError:
        print("atheris is not installed, so nothing is fuzzed: pip install 'tollbook[fuzz]' (Linux, CPython to 3.13)")
        return 0
    return sum(_apart(name, chosen.corpus, chosen.seconds) for name in chosen.targets or every)


def _apart(target: str, corpus: Path, seconds: int) -> bool:
    """One target in a process of its own; whether it failed."""
    command = [sys.executable, "-m", "tests.fuzz", target, "--one", "--corpus", str(corpus), "--seconds", str(seconds)]
    with tempfile.TemporaryDirectory() as scratch:  # the fuzzer ends its process at once: nothing is removed in there
        environ = {**os.environ, "TMPDIR": scratch}
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", env=environ)
    said = done.stderr.splitlines()
    runs = next((line.split()[1] for line in reversed(said) if line.startswith("Done ")), "?")
    print(f"{target:20} {'failed' if done.returncode else 'held'} {runs:>10} runs in {seconds} s", flush=True)
    if done.returncode:
        print(done.stdout[-4000:], "\n".join(said[-12:]), sep="\n", flush=True)
    return done.returncode != 0


def _fuzz(target: str, corpus: Path, seconds: int) -> int:
    import atheris

    with atheris.instrument_imports(include=["tollbook", "yaml"]):
        from fuzz_books import BOOK_TARGETS, clear
        from fuzz_targets import TARGETS
    from fuzz_seeds import seeds_of

    directory = corpus / target
    (directory / "corpus").mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds_of(target)):
        (directory / "corpus" / f"seed-{number:04d}").write_bytes(seed)
    limits = [f"-max_total_time={seconds}", "-timeout=20", "-rss_limit_mb=2048", "-max_len=16384"]
    arguments = [sys.argv[0], *limits, f"-artifact_prefix={directory}/", str(directory / "corpus")]
    try:
        atheris.Setup(arguments, {**TARGETS, **BOOK_TARGETS}[target])
        atheris.Fuzz()
    finally:
        clear()
    return 0


if __name__ == "__main__":
    sys.exit(main())
