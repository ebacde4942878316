"""Whole programs in processes of their own: what people run, with real databases and sockets."""
