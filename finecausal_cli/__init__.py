"""Score diving videos and explain the score (FineCausal, arXiv 2503.23911)."""

__version__ = "0.1.0"
