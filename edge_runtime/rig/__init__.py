"""One network and its cameras: whose turn it is, and what became of each camera's frames."""
