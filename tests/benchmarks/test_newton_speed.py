"""The time of newton: what is refused before anything is measured."""

import pytest

from benchmarks.newton_speed import main


def test_a_folder_that_is_no_checkout_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["--small", "--before", str(tmp_path)])
    message = f"--before {tmp_path} has no folder skclif: give a checkout"
    assert message in capsys.readouterr().err
