"""Choosing INT8 ranges of an exported network from sample frames.

This stage takes an ONNX model and frames, and gives a graph with Q/DQ nodes and a report of what
that costs. It needs numpy, onnx and onnxruntime, never torch, so that a model can be calibrated
where it runs. From a verb to its work::

    cli -> calibrate -> samples, selection      which frames
                     -> policy, operators       where pairs go
                     -> ranges, histogram, methods   how wide each tensor is
                     -> qdq                     the pairs, inserted and removed
                     -> adaptive, patches, rounding  which way each weight is rounded
                     -> judge, sensitivity, mixed    what it costs, and where to give INT8 up
                     -> report, sites           as JSON, also for `training.qat`
                     -> publish, html, pictures, charts   for people
                     -> storage                 weights as integers, a third of the size

`cache_cli` explains and converts TensorRT's calibration caches (`edge_runtime.calibration_cache`),
which hold the same ranges; `cache_convert` takes them out of a graph.
"""
