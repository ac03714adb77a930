"""Where results go: overlay videos, mask images, mask videos, a window."""
