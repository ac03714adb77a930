"""Completion of command lines: what may stand at a place, and how shells ask for it."""
