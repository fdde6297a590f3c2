"""Simulated dives of our own: motion, faults, judges, picture, and the data sets written from them."""
