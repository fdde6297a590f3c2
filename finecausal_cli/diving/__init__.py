"""The sport: dive numbers, degrees of difficulty and judges' marks. Nothing here knows of video or of torch."""
