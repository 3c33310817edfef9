"""Benchmarks: `make bench`. Every figure stands beside its limit, measured in the same run on the same machine."""
