"""Graphs made faster in ONNX Runtime's blocked layout, while a session is opened.

ONNX Runtime computes convolutions with a block of 8 or 16 channels side by side in memory. How many
is up to the machine, so that no exported file can say it, and the runtime rewrites the graph it has
loaded; the file stays as it is. Two things its own optimiser leaves out of that layout:

A kernel-3 level of the decoder convolves with weights generated at run time, in as many groups as
it has patches times channels. As the weights are no constants, the plain operator computes one
group after the other. The operator behind the optimiser takes them.

Squeeze-and-excite takes the mean of a map and multiplies the map, both in plain layout. The blocked
layout has a mean too, and the product can be one with the weights of the next convolution. As this
convolution is the optimiser's work, the graph is rewritten after it.

- `probe` finds the machine's block by proof.
- `pattern` recognises the level, and nothing that differs from it.
- `rewrite` puts the blocked form in its place.
- `load` does all of it for a file.
- `gates` recognises and rewrites squeeze-and-excite in an optimised graph.
- `swish` makes the optimised graph of an older ONNX Runtime like that of a newer one.
- `optimised` gets that graph, and opens what comes of it.
"""
