"""Cells of tables that spreadsheets open."""

import io

import pandas as pd

from skclif._storage.cells import table_csv


def test_hashes_are_no_numbers_to_a_spreadsheet():
    hashes = ["67167174807909e1", "1234567890123456", "ab12cd34ef56ab78"]
    table = pd.DataFrame(
        {
            "text_hash": hashes,
            "train_text_hash": hashes,
            "target_text_hash": [None, *hashes[1:]],
            "annotated:text_hash": hashes,
        }
    )
    written = table_csv(table)
    found = pd.read_csv(io.BytesIO(written))  # which reads numbers, as they do
    for name in ("text_hash", "train_text_hash"):
        assert found[name].tolist() == [f"h:{one}" for one in hashes]
    assert found["target_text_hash"].isna().tolist() == [True, False, False]
    said = pd.read_csv(io.BytesIO(written), dtype=str, keep_default_na=False)
    assert said["target_text_hash"].tolist() == ["", *(f"h:{h}" for h in hashes[1:])]
    assert said["annotated:text_hash"].tolist() == hashes


def test_a_table_without_rows_has_its_columns():
    table = pd.DataFrame({"id": [], "text_hash": []})
    assert table_csv(table) == b'"id","text_hash"\n'
