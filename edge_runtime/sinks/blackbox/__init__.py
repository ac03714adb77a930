"""The black box: the last seconds before something went wrong, kept whatever happens to the run."""
