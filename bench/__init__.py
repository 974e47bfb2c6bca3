"""Measurements: `python -m bench` of the gateway, `python -m bench.batch_vs_unary` of storing."""
