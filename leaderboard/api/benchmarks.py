"""Benchmarks: ``/benchmarks`` and what each is."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request
from pydantic import BaseModel, ConfigDict

from leaderboard.api.deps import Config
from leaderboard.benchmarks import BenchmarkView, known_benchmarks, one_benchmark
from leaderboard.choices import only_known

router = APIRouter(prefix="/benchmarks", tags=["benchmarks"])


class Benchmarks(BaseModel):
    """Every benchmark that is installed here."""

    model_config = ConfigDict(extra="forbid")

    benchmarks: tuple[BenchmarkView, ...]


@router.get("")
def benchmarks(request: Request, settings: Config) -> Benchmarks:
    """Lists the benchmarks that are installed here."""
    only_known(request.query_params.multi_items(), ())
    return Benchmarks(benchmarks=known_benchmarks(settings))


@router.get("/{benchmark}")
def benchmark(
    request: Request, benchmark: Annotated[str, Path(max_length=100)], settings: Config
) -> BenchmarkView:
    """Returns a benchmark: series, windows, digest."""
    only_known(request.query_params.multi_items(), ())
    return one_benchmark(settings, benchmark)
