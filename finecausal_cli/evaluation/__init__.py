"""Evaluation: metrics, predictions over a dataset, and baselines."""
