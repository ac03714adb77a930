"""The network: backbone, context head, signal-to-weights, and a decoder of meta blocks."""
