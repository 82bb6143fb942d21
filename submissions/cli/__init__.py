"""The commands that submissions contribute to ``zapeval``."""
