"""What a run leaves for people to look at: curve, worst images, model card."""
