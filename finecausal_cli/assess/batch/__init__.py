"""From many dives to rows: what to score, what is known already, reading ahead, a journal that survives anything."""
