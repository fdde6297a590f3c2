"""Where in a film somebody dives: camera motion, what moves before the still world, who falls freely. No torch."""
