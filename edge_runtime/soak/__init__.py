"""Long runs that are watched: does anything grow that ought to stay as it is?"""
