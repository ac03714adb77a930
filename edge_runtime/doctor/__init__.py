"""``hyperseg doctor``: what on this machine keeps a run from being right, and the command for it.

A check is a function of a `edge_runtime.doctor.machine.Machine`, which is this machine or a tree of
files that were recorded on another. It yields findings and changes nothing. What was written for a
Jetson follows NVIDIA's documentation and was not run on one yet.
"""
