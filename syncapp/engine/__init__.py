"""What runs: links are driven here. `link` joins a store to a transport; `supervisor` runs them all."""
