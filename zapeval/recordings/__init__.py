"""Recordings: activity with what belongs to it, wherever it is stored."""
