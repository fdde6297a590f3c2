"""Measurements, side by side in one run: ``make bench``. Ratios are claims, absolute times are not."""
