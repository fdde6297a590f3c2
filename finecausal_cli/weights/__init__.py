"""Weights: find them, read and write them as safetensors, convert foreign checkpoints."""
