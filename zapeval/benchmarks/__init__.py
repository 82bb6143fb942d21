"""Benchmarks: tasks as frozen data."""
