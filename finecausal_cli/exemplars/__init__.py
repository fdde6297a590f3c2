"""Exemplars: judged dives whose encodings are stored, the choice among them, and their votes."""
