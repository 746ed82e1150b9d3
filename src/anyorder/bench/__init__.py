"""Benchmarks. Each measures a baseline in the same run, on the same machine and the same work.

``decode`` and ``statistics`` are in `bench.decode`, ``data`` in `bench.data`, ``zebra`` in `bench.zebra`, ``train`` in
`bench.training`; each gives a `BenchResult`.
"""

from anyorder.bench.result import BenchResult

__all__ = ["BenchResult"]
