"""File -> Clip: look at a video, decode it, sample 96 frames, bring them to size; and write videos."""
