"""Judging an ONNX graph by the rules of a TensorRT, without having it."""
