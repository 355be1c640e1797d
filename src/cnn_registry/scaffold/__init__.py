"""``cnnreg new``: a complete plugin package from templates.

`names` refuses what cannot be a plugin's name, `render` fills in the templates in memory, `write` makes a folder of
the result or leaves nothing behind, and `new` does one after the other.
"""
