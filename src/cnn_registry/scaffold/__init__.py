"""``cnnreg new``: a complete plugin package from templates.

`names` refuses names that a plugin cannot have, `render` fills in the templates in memory, `write` turns the result
into a folder or leaves nothing behind, and `new` calls them in this order.
"""
