"""The pages: what a browser shows of the board."""
