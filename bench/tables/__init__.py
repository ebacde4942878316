"""The table that the benchmarks change: twelve columns, 220 bytes a row."""
