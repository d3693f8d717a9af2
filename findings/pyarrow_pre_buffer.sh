#!/usr/bin/env bash
# pyarrow 26.0.1: iter_batches keeps the bytes of all row groups that it has passed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet "pyarrow==26.0.1"

"$folder/env/bin/python" - "$folder/table.parquet" <<'PYTHON'
import os
import sys

import pyarrow as pa
import pyarrow.parquet as pq

print("pyarrow", pa.__version__)
path = sys.argv[1]
texts = pa.array([os.urandom(250).hex() for _ in range(40_000)])
pq.write_table(pa.table({"text": texts}), path, row_group_size=1000)
del texts
print(f"a file of {os.path.getsize(path) / 1e6:.0f} MB in 40 row groups")


def most(**options):
    """Return the most bytes of the pool while batches are read and dropped."""
    before, found = pa.total_allocated_bytes(), 0
    with pq.ParquetFile(path, buffer_size=2**16, **options) as file:
        for _ in file.iter_batches(256):
            found = max(found, pa.total_allocated_bytes() - before)
    return found / 1e6


print("iter_batches says that it reads streaming batches from a Parquet file.")
print("expected: about one row group of 0.5 MB at a time")
default, plain = most(), most(pre_buffer=False)
print(f"found: {default:.1f} MB, and {plain:.1f} MB with pre_buffer=False")
assert plain < 3, "The behaviour has changed: there is no way round any more."
assert default > 5 * plain, "The behaviour has changed: remove the workaround."
PYTHON
