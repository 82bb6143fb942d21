"""The worm: recordings of *C. elegans*, prepared alike, and the benchmarks over them."""
