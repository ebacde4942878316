"""The benchmarks: two real programs beside a naive way, in the same run, compared as ratios. `make bench` runs them."""
