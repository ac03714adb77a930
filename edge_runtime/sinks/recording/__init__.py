"""Recordings in MCAP files, which Foxglove and Python read."""
