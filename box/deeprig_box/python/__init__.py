"""uv, the tools' environment and the work user's."""
