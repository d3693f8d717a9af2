"""Environments of their own for the libraries that benchmarks compare with."""

import os
import subprocess
import sys


def peers_python(folder, requirements):
    """Return the interpreter of the peers' environment, made where it is missing.

    Parameters
    ----------
    folder : Path
        Of the environment and of the requirements that it was made with.
    requirements : str
        As in a requirements file; others make the environment anew.
    """
    environment, installed = folder / "env", folder / "requirements.txt"
    python = environment / "bin" / "python"
    if not installed.exists() or installed.read_text() != requirements:
        make = [sys.executable, "-m", "venv", "--clear", environment]
        subprocess.run(make, check=True)
        wanted = folder / "wanted.txt"
        wanted.write_text(requirements)
        install = [python, "-m", "pip", "install", "--quiet", "-r", wanted]
        subprocess.run(install, check=True)
        os.replace(wanted, installed)
    return python
