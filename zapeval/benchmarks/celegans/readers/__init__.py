"""Readers: the files of each source, turned into raw worms."""
