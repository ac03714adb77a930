"""Configuration of other runtimes for a model of ours: DeepStream, Triton, Isaac ROS."""
