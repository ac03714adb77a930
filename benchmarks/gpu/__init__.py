"""What the project claims about NVIDIA GPUs, measured on one: a command an item, one JSON each.

``python -m benchmarks.gpu`` runs all items; ``python -m benchmarks.gpu.<item> --json F`` runs one.
Without a GPU each refuses in one line; ``--dry-run`` goes through the same code on the CPU and
keeps no figure. ``docs/gpu.md`` describes them.
"""
