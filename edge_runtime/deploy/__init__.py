"""From a model on one machine to a verified, proven release on another, and back again.

A bundle is a model with all that belongs to it and an index of SHA-256 sums, which may be signed
(`index`, `signing`). It is a folder, a tar file, or parts under way to a device (`forms`). Whoever
receives one verifies all of it before anything is touched (`bundle`), proves the model on a golden
frame (`proof`), and switches to it by renaming one symbolic link (`releases`, `device`). `hyperseg
deploy` does that over OpenSSH (`connection`, `deploy`).
"""
