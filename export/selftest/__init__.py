"""One command for the owner of a Jetson or an RTX card: build, prove, measure, publish."""
