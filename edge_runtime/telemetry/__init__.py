"""Watts, clocks, temperatures and throttling, beside every figure of a run."""
