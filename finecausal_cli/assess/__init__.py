"""From a clip to a verdict: the scorer, its options, and the interventions that explain a score."""
