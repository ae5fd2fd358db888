"""Where work runs: in this process, in several local processes, or on a Dask cluster, one function call per item."""

import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from multiprocessing.context import BaseContext
from typing import Any

import cv2
import torch

ENGINES = ("local", "dask")
Run = Callable[[Callable[[Any], Any], Sequence[Any]], Iterator[tuple[int, Any]]]
"""`run(work, items)` yields the index and result of each item in order of completion."""


@contextmanager
def start_workers(*, workers: int = 1, engine: str = "local", scheduler: str | None = None) -> Iterator[Run]:
    """Start workers for the duration of the block, and yield `run(work, items)`.

    `work` is an importable function of one item whose result does not depend on which process calls it.

    Parameters
    ----------
    workers : int
        Number of processes; with 1, work runs in this process.
    engine : "local" or "dask"
        Dask reassigns the work of a lost worker to another one.
    scheduler : str, optional
        Address of a Dask scheduler; without it a local cluster of `workers` processes is started.
    """
    if workers < 1:
        raise ValueError(f"workers must be at least 1, got {workers}")
    if engine not in ENGINES:
        raise ValueError(f"engine must be one of {', '.join(ENGINES)}, got {engine}")
    if engine == "dask":
        with _dask_client(workers, scheduler) as client:
            yield partial(_with_dask, client)
    elif workers > 1:
        with ProcessPoolExecutor(workers, mp_context=_processes()) as pool:
            yield partial(_with_processes, pool)
    else:
        yield lambda work, items: ((index, _on_one_core(work, item)) for index, item in enumerate(items))


def _processes() -> BaseContext:
    """Start method of processes: on Linux, forked from a server that has imported torch and datasets once for all."""
    if sys.platform != "linux":
        return get_context("spawn")
    context = get_context("forkserver")
    context.set_forkserver_preload(["cellvid_diffusers.data"])
    return context


def _on_one_core(work: Callable[[Any], Any], item: Any) -> Any:
    """Run with one thread: processes share the cores, and sums are the same on every machine."""
    threads, cv_threads = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    try:
        return work(item)
    finally:
        torch.set_num_threads(threads)
        cv2.setNumThreads(cv_threads)


def _with_processes(
    pool: ProcessPoolExecutor, work: Callable[[Any], Any], items: Sequence[Any]
) -> Iterator[tuple[int, Any]]:
    futures = {pool.submit(_on_one_core, work, item): index for index, item in enumerate(items)}
    try:
        for future in as_completed(futures):
            yield futures[future], future.result()
    except BaseException:
        pool.shutdown(cancel_futures=True)
        raise


@contextmanager
def _dask_client(workers: int, scheduler: str | None) -> Iterator[Any]:
    try:
        from dask.distributed import Client, LocalCluster
    except ImportError:
        raise ValueError("engine dask needs Dask: pip install 'cellvid-diffusers[dask]'") from None
    if scheduler:
        with Client(scheduler) as client:
            yield client
    else:
        cluster = LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None)
        with cluster, Client(cluster) as client:
            yield client


def _with_dask(client: Any, work: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[tuple[int, Any]]:
    from dask.distributed import as_completed as dask_as_completed

    futures = client.map(partial(_on_one_core, work), list(items), pure=False)
    numbers = {future.key: index for index, future in enumerate(futures)}
    for future in dask_as_completed(futures):
        yield numbers[future.key], future.result()
