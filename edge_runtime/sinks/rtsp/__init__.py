"""The overlay as a live stream over RTSP."""
