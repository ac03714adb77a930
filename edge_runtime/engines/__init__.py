"""Built engines on disk: what one is bound to, where it lies, and when it may be loaded."""
