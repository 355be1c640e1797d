"""A trained model as a page and a JSON API: drop pictures, see classes.

`cnn_registry.serve.app.make_app` makes the ASGI application, which any ASGI server runs; ``cnnreg serve`` runs it with
uvicorn. It needs the extra ``serve``.
"""
