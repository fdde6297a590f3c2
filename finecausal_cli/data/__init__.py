"""Datasets: from files on disk to ``Dive`` records, cached clips and batches of pairs."""
