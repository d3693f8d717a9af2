#!/usr/bin/env bash
# distributed 2026.8.0: Client.map fails if a keyword argument is large.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet "distributed==2026.8.0" "dask==2026.8.0"

cat > "$folder/program.py" <<'PYTHON'
import logging

import distributed
from distributed import Client, LocalCluster


def length(i, table):
    return len(table)


def outcome(function):
    try:
        return function()
    except Exception as error:  # the scheduler sends it as a plain Exception
        return f"{type(error).__name__}: {error}"


def main():
    print("distributed", distributed.__version__)
    with (
        LocalCluster(
            n_workers=1, threads_per_worker=1, silence_logs=logging.CRITICAL,
            dashboard_address="127.0.0.1:0",
        ) as cluster,
        Client(cluster) as client,
    ):
        small, large = bytes(1000), bytes(2_000_000)
        print("Client.map sends its keyword arguments to the function.")
        few = outcome(lambda: client.gather(client.map(length, range(2), table=small)))
        print("1 kB: expected [1000, 1000], found", few)
        one = outcome(lambda: client.submit(length, 0, table=large).result())
        print("2 MB, by Client.submit: expected 2000000, found", one)
        many = outcome(lambda: client.gather(client.map(length, range(2), table=large)))
        print("2 MB, by Client.map: expected [2000000, 2000000], found", many)
        print("and the cluster still computes: 2**3 =", client.submit(pow, 2, 3).result())
    assert few == [1000, 1000] and one == 2_000_000
    assert "AssertionError" in str(many), (
        "The behaviour has changed: large arguments may go to Client.map."
    )


if __name__ == "__main__":
    main()
PYTHON
"$folder/env/bin/python" "$folder/program.py"
