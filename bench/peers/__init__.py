"""pellucid beside other libraries: the same prior, operators and measurements in one process. See bench/README.md."""
