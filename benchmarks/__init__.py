"""Measurements, side by side in one run: `python -m benchmarks`. docs/benchmarks.md tells how to read them."""
