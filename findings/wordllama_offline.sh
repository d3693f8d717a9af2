#!/usr/bin/env bash
# wordllama 0.4.0.post1: load() asks the network for the tokenizer that the package holds.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet "wordllama==0.4.0.post1"

# A home without a cache, as on a machine where it was just installed.
HOME="$folder" "$folder/env/bin/python" - <<'PYTHON'
from importlib.metadata import version
from pathlib import Path

import wordllama
from wordllama import WordLlama

print("wordllama", version("wordllama"))
package = Path(wordllama.__file__).parent
held = [
    package / "weights" / "l2_supercat_256.safetensors",
    package / "tokenizers" / "l2_supercat_tokenizer_config.json",
]
for path in held:
    assert path.is_file(), path
    print("in the package:", path.relative_to(package), path.stat().st_size, "bytes")
print("resolve_file says that it checks the 'project root directory' before anything.")
print("expected: load(disable_download=True) finds both")
try:
    WordLlama.load(disable_download=True)
except FileNotFoundError as error:
    print("found:", error)  # it looks in tokenizer/, and the folder is tokenizers/
else:
    raise SystemExit("The behaviour has changed: the package works offline now.")
model = WordLlama.load(disable_download=True, cache_dir=package)
assert model.embed(["soup"]).shape == (1, 256)
print("a way round: load(cache_dir=<folder of the package>)")
PYTHON
