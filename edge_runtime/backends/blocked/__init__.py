"""Generated depthwise convolutions in ONNX Runtime's blocked layout, while a session is opened.

A kernel-3 level of the decoder convolves with weights generated at run time, in as many groups as
it has patches times channels. ONNX Runtime's own optimiser leaves such a convolution alone, as its
weights are no constants, and the plain operator computes one group after the other. The operator
behind the optimiser takes them: it wants a block of 8 or 16 channels side by side in memory. How
many is up to the machine, so that no exported file can say it and the runtime rewrites the graph it
has loaded; the file stays as it is.

- `probe` finds the machine's block by proof.
- `pattern` recognises the level, and nothing that differs from it.
- `rewrite` puts the blocked form in its place.
- `load` does all of it for a file.
"""
