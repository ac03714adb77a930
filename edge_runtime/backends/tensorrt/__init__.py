"""Engines of TensorRT and TensorRT-RTX on an NVIDIA GPU; imported only to run one."""
