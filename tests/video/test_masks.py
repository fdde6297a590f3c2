import numpy as np

from finecausal_cli.video import dilate


def test_masks_are_widened_by_a_32nd():
    mask = np.zeros((1, 64, 64), bool)
    mask[0, 30, 30] = True
    rows, columns = np.nonzero(dilate(mask)[0])
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (28, 32, 28, 32)
