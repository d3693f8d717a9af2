"""Dask collections of rows, in chunks of any lengths."""

import numpy as np


def as_array(values, chunks):
    from dask import array

    values = np.asarray(values)
    return array.from_array(values, chunks=(chunks, *values.shape[1:]))


def as_frame(frame, chunks):
    """Return a dataframe or a series whose divisions are not known."""
    import dask
    from dask import dataframe

    ends = np.cumsum(chunks)
    parts = [
        dask.delayed(frame.iloc[a:b]) for a, b in zip(ends - chunks, ends, strict=True)
    ]
    return dataframe.from_delayed(parts, meta=frame.iloc[:0], verify_meta=False)
