"""Training: losses, options, checkpoints and the loop."""
