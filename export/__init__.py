"""From a checkpoint to a deployable graph, with the proof that it is still the same network."""
