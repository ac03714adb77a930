"""Paired measurements; see README.md beside this file."""
