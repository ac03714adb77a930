"""A report as one HTML page that needs nothing beside it: neither network nor script.

`page.render` makes it of a report's JSON, which it carries within, so that `hyperseg compare` reads
either.
"""
