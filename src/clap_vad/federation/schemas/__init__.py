"""The closed list of what may leave a site: a file per method, and one for what all methods share.

``messages.py`` collects them; ``tests/federation/schemas.txt`` pins the whole list.
"""
