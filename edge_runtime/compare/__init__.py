"""Two reports of one kind side by side: what differs, and whether by more than chance.

`compare.compare` does it; ``docs/reports.md`` says what is tested and how.
"""
