"""Choosing INT8 ranges of an exported network from sample frames.

This stage takes an ONNX model and frames, and gives a table of ranges or a graph with Q/DQ nodes.
It needs numpy, onnx and onnxruntime, never torch, so that a model can be calibrated where it runs.
So far the package only reserves its place in the layers; no verb of the command line uses it yet.
"""
