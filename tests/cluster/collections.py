"""Dask collections of rows, in chunks of any lengths."""

from functools import partial

import numpy as np


def as_array(values, chunks):
    from dask import array

    values = np.asarray(values)
    return array.from_array(values, chunks=(chunks, *values.shape[1:]))


def as_frame(frame, chunks):
    """Return a dataframe or a series whose divisions are not known."""
    from dask import dataframe

    ends = np.cumsum(chunks).tolist()
    starts = [end - n for end, n in zip(ends, chunks, strict=True)]
    return dataframe.from_map(partial(_rows, frame), starts, ends, meta=frame.iloc[:0])


def _rows(frame, start, end):
    return frame.iloc[start:end]
