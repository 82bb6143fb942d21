"""Reference forecasters: plugins like anybody's."""
