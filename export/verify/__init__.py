"""The parity chain: every form of one network against its first, on the same frames.

torch float64, torch float32, ONNX as traced, simplified, FP16, Q/DQ, engine. How much a form may
differ is a multiple of what rounding alone does to this very network in that form's precision.
"""
