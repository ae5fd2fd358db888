"""Run a script as a user does, in a process of its own, on one thread.

Half of the time of a short script goes into importing torch, diffusers and datasets. Here a server process has imported
them once and forks for each script (on Linux; elsewhere each imports them anew). The project's own modules are imported
by the script.
"""

import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]

_CONTEXT = multiprocessing.get_context("forkserver" if sys.platform == "linux" else "spawn")
_CONTEXT.set_forkserver_preload(
    [
        "torch._dynamo",
        "diffusers.pipelines.pipeline_utils",
        "diffusers.training_utils",
        "accelerate",
        "datasets",
        "scipy.ndimage",
        "scipy.stats",
        "skimage.segmentation",
    ]
)


def run_script(
    path: str | Path, *words: object, timeout: float = 300, interrupt_at: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """`run_script("benchmarks/tasks.py", "--out", page)`, its path from the root of the repository; it is interrupted,
    as by Ctrl-C, once the file `interrupt_at` exists."""
    argv = [str(ROOT / path), *map(str, words)]
    with tempfile.TemporaryDirectory() as folder:
        outputs = Path(folder, "stdout"), Path(folder, "stderr")
        process = _CONTEXT.Process(target=_become, args=(argv, *outputs))
        process.start()
        while interrupt_at is not None and process.is_alive():
            if interrupt_at.exists():
                os.kill(process.pid, signal.SIGINT)
                break
            time.sleep(0.05)
        process.join(timeout)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired(argv, timeout)
        return subprocess.CompletedProcess(argv, process.exitcode, *(each.read_text() for each in outputs))


def run_benchmark(name: str, *words: object) -> None:
    """`run_benchmark("tasks.py", "--out", page)`; the end of what it printed if it fails."""
    done = run_script(f"benchmarks/{name}", *words)
    assert done.returncode == 0, done.stderr[-3000:]


def _become(argv: list[str], stdout: Path, stderr: Path) -> None:
    for path, descriptor in ((stdout, 1), (stderr, 2)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), descriptor)
    os.chdir(ROOT)
    os.environ.update({"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"})
    sys.argv = argv
    sys.path.insert(0, str(Path(argv[0]).parent))
    runpy.run_path(argv[0], run_name="__main__")
