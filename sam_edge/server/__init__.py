"""HTTP: the page's server half, and an API for other programs; see ``docs/http.md``.

Starlette and uvicorn are an extra: only ``sam-edge serve`` imports the modules that need them.
"""
