"""What `python -m benchmarks` is made of: the parts, their runner, the history and its plot.

The program that runs the parts imports neither torch nor an engine: the peak memory that the
kernel tells of a child is never below that of the process it came from.
"""
