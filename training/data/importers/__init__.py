"""Importers: annotations of other tools, written as a ``folder:`` data set.

A reader (one module per format) gives an `Imported`: classes, and items whose masks are drawn only
when they are written. `writer` writes them aside and renames the folder when it is complete.
"""
