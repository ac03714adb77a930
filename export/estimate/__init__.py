"""What a network would cost on a device that is not here: a roofline estimate, no measurement."""
