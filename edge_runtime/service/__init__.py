"""A run as a service: what it tells its manager, its unit, and whether it is healthy."""
