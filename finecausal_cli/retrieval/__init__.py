"""Exemplars that dives are compared with, and how they vote."""
