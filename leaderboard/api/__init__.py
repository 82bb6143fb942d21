"""The web API: a router per noun, all under ``/api/v1``."""
