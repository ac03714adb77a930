"""How fast models are here: trtexec's definitions, warm, on real pictures, several side by side."""
