"""How good a network is on labelled images: checkpoints and exported models by one path."""
