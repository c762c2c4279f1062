"""
Write requirements/*.txt anew: every version pinned, every file hashed, one list for all Pythons.

`make lock` runs this inside a throw-away environment that holds uv. Pins stay as they are while
they still fit; `make lock ARGS=--upgrade` takes the newest of all, `ARGS="--upgrade-package flask"`
of one.
"""

import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COMPILE = (
    *(sys.executable, "-m", "uv", "pip", "compile", "-", "--quiet"),
    # One file for every supported Python and platform, told apart by markers.
    *("--universal", "--python-version", "3.11", "--generate-hashes"),
    # Whoever installs says where from, and nobody reads where we compiled.
    *("--no-emit-index-url", "--no-emit-find-links", "--custom-compile-command", "make lock"),
)


def main(arguments: list[str]) -> None:
    """Compile the lists of tools, development and benchmarks; stop at the first that cannot be."""
    compile_to("lock.txt", (ROOT / "requirements/lock.in").read_text("utf-8"), arguments)

    ours = [ROOT, *(path.parent for path in sorted(ROOT.glob("plugins/[!_]*/pyproject.toml")))]
    sources = "\n".join(f"-e ./{path.relative_to(ROOT)}" for path in ours)
    names = [
        tomllib.loads((path / "pyproject.toml").read_text("utf-8"))["project"]["name"]
        for path in ours
    ]
    # What is developed here is installed from here, so it is solved with the rest but not locked.
    unlocked = [option for name in names for option in ("--no-emit-package", name)]
    compile_to("dev.txt", sources.replace("./.", ".[dev]", 1), [*unlocked, *arguments])

    # What both lists hold is measured in the version that is tested.
    peers = (ROOT / "requirements/bench.in").read_text("utf-8")
    source = f"-e .[cli,fast,flask]\n-c requirements/dev.txt\n{peers}"
    compile_to("bench.txt", source, ["--no-emit-package", "journeykit", *arguments])


def compile_to(name: str, source: str, arguments: list[str]) -> None:
    """Solve *source* (requirements as text) into requirements/*name*."""
    target = f"requirements/{name}"
    command = [*COMPILE, "--output-file", target, *arguments]
    subprocess.run(command, input=source, text=True, cwd=ROOT, check=True)
    print(f"wrote {target}")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)
