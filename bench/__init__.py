"""Benchmarks: plain scripts, run as modules, that resume where they stopped and write their tables into docs/benchmarks.md."""
