"""Score many dives: inputs, rows, a resumable journal, one process or a Ray cluster."""
