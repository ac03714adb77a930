"""The web page of a run: who looks at it can neither delay a frame nor see more than a picture."""
