"""Who does the work: this process, several of this machine, or a Dask cluster. All call one function on each item."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from multiprocessing import get_context
from typing import Any, TypeVar

import cv2
import torch

Item = TypeVar("Item")
ENGINES = ("local", "dask")


def run_all(
    work: Callable[[Item], Any],
    items: Sequence[Item],
    *,
    workers: int = 1,
    engine: str = "local",
    scheduler: str | None = None,
) -> Iterator[tuple[int, Any]]:
    """Number and result of each item, in the order in which they are done.

    Parameters
    ----------
    work : callable
        Importable function of one item; its result does not depend on who calls it.
    items : sequence
    workers : int
        Processes; 1 works in this one.
    engine : "local" or "dask"
        Dask gives the work of a lost worker to another one.
    scheduler : str, optional
        Address of a Dask scheduler; without it a cluster of `workers` processes is started here.
    """
    if workers < 1:
        raise ValueError(f"workers must be at least 1, got {workers}")
    if engine not in ENGINES:
        raise ValueError(f"engine must be one of {', '.join(ENGINES)}, got {engine}")
    if engine == "dask":
        return _with_dask(work, items, workers, scheduler)
    if workers == 1:
        return ((index, _on_one_core(work, item)) for index, item in enumerate(items))
    return _with_processes(work, items, workers)


def _on_one_core(work: Callable[[Item], Any], item: Item) -> Any:
    """One thread each: processes share the cores, and sums come out the same on every machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    try:
        return work(item)
    finally:
        torch.set_num_threads(threads)


def _with_processes(work: Callable[[Item], Any], items: Iterable[Item], workers: int) -> Iterator[tuple[int, Any]]:
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        futures = {pool.submit(_on_one_core, work, item): index for index, item in enumerate(items)}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _with_dask(
    work: Callable[[Item], Any], items: Iterable[Item], workers: int, scheduler: str | None
) -> Iterator[tuple[int, Any]]:
    try:
        from dask.distributed import Client, LocalCluster
        from dask.distributed import as_completed as dask_as_completed
    except ImportError:
        raise ValueError("engine dask needs Dask: pip install 'cellvid-diffusers[dask]'") from None
    cluster = None if scheduler else LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None)
    try:
        with Client(scheduler or cluster) as client:
            futures = client.map(partial(_on_one_core, work), list(items), pure=False)
            numbers = {future.key: index for index, future in enumerate(futures)}
            for future in dask_as_completed(futures):
                yield numbers[future.key], future.result()
    finally:
        if cluster is not None:
            cluster.close()
