"""Results as JSON: in a file, over UDP and MQTT, and as ROS 2 topics."""
