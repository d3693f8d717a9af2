"""Fit, factorisation, influence and embedding on a GPU, beside what it can do at best.

The ceilings are measured in the same run: products in float32 without TF32 and in
float64, copies from pinned memory, and copies within the device. Features are made-up
float32 rows with ten concepts, either in the memory of the GPU or in that of the host,
from where they come a block ahead. The command ends within its budget, and writes what
it has by then. It needs CUDA; ``--device cpu`` is to see that it runs.

    python -m benchmarks.gpu [--rows 1000000 10000000] [--budget 400]
"""

import gc
import json
import time
from contextlib import contextmanager
from functools import partial
from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from skclif import ConceptBottleneckClassifier, SentenceEmbedder
from skclif._inputs.devices import available_memory, resolve_device
from skclif._models.fitted import FittedHeads
from skclif.numerics import stored
from skclif.numerics.bottleneck import TrainingData
from skclif.numerics.first_order import first_order, solve_adjoint
from skclif.numerics.hessians import factorise
from skclif.numerics.precision import full_precision
from skclif.numerics.stored import StoredFeatures
from skclif.numerics.targets import LabelTarget

from .results import BenchmarkParser, write_table

GIB = 2**30
WHERE = ("on the device", "on the host")
# Rows that numbers of floating-point operations are counted on, and compared on.
COUNTED, COMPARED = 4_096, 20_000
# Products that PyTorch's counter does not know.
IN_PLACE = {
    kind: lambda _, left, right, *__, **___: 2 * prod(left) * right[-1]
    for kind in (torch.ops.aten.addmm_, torch.ops.aten.baddbmm_)
}


class Clock:
    """The time that is left, and how long work on the device takes."""

    def __init__(self, budget, device):
        self.end = time.perf_counter() + budget
        self.device = device

    @property
    def left(self):
        """Seconds until the budget is used up."""
        return self.end - time.perf_counter()

    def seconds(self, work):
        """Return how long work takes until the device has done it."""
        self.wait()
        start = time.perf_counter()
        work()
        self.wait()
        return time.perf_counter() - start

    def best(self, work, repeat):
        """Return the shortest of several times, after one that does not count."""
        work()
        return min(self.seconds(work) for _ in range(repeat))

    def wait(self):
        """Wait for the device."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def measure_ceilings(clock, small):
    """Return what the device reaches at best, by name: TFLOP/s and GB/s."""
    device, size = clock.device, 256 if small else 8192
    n_bytes = 2**22 if small else GIB
    found = {}
    with full_precision():
        for dtype in (torch.float32, torch.float64):
            left = torch.randn(size, size, dtype=dtype, device=device)
            right = torch.randn(size, size, dtype=dtype, device=device)
            out = torch.empty_like(left)
            seconds = clock.best(
                lambda a=left, b=right, c=out: torch.mm(a, b, out=c), 5
            )
            found[f"{dtype}".removeprefix("torch.")] = 2 * size**3 / seconds / 1e12
            del left, right, out
    here = torch.empty(n_bytes, dtype=torch.uint8, device=device)
    there = torch.empty_like(here)
    found["memory"] = 2 * n_bytes / clock.best(lambda: there.copy_(here), 5) / 1e9
    host = torch.empty(n_bytes, dtype=torch.uint8, pin_memory=device.type == "cuda")
    seconds = clock.best(lambda: here.copy_(host, non_blocking=True), 5)
    found["transfer"] = n_bytes / seconds / 1e9
    return found


def make_rows(n_rows, n_features, n_concepts, device, seed=0):
    """Return float32 features on the host, labels, and annotations.

    Numbers come from the device, because those of the host would take a minute.
    """
    generator = torch.Generator(device).manual_seed(seed)
    scale = n_features**-0.5
    directions = scale * torch.randn(
        n_features, n_concepts, generator=generator, device=device
    )
    features = torch.empty(n_rows, n_features)
    codes = np.empty((n_rows, n_concepts), dtype=np.int64)
    labels = np.empty(n_rows, dtype=np.int64)
    edges = torch.tensor([-0.6, 0.6], device=device)
    for start in range(0, n_rows, 2**18):
        block = slice(start, min(start + 2**18, n_rows))
        shape = block.stop - start, n_features
        X = torch.randn(*shape, generator=generator, device=device)
        noise = torch.randn(shape[0], n_concepts, generator=generator, device=device)
        scores = X @ directions + 0.7 * noise
        features[block] = X.cpu()
        codes[block] = torch.bucketize(scores, edges).cpu().numpy()
        total = scores[:, :3].sum(dim=1) + noise[:, -1]
        labels[block] = torch.bucketize(total, edges).cpu().numpy()
    return features, labels, codes


class Task:
    """Rows of one size, and what is done with them on the device.

    Parameters
    ----------
    clock : Clock
    rows : tuple
        Of `make_rows`.
    on_device : bool
        Whether the features are in the memory of the device.
    n_targets : int
    """

    def __init__(self, clock, rows, on_device, n_targets):
        features, self.labels, self.codes = rows
        self.clock, self.device, self.n_targets = clock, clock.device, n_targets
        self.features = features.to(self.device) if on_device else features
        self.clf = ConceptBottleneckClassifier(device=str(self.device))

    def fit(self):
        """Fit the whole bottleneck by its public method."""
        self.clf.fit(self.features, self.labels, concepts=self.codes)

    def prepare(self):
        """Keep what factorisation and influence start from."""
        heads = FittedHeads.of(self.clf)
        self.bottleneck, self.penalties = heads.tensors(self.device), heads.penalties
        self.data = self._data()
        self.factors = None

    def _data(self, n_rows=None):
        labels = torch.from_numpy(self.labels[:n_rows]).to(self.device)
        codes = torch.from_numpy(self.codes[:n_rows].astype(float)).to(self.device)
        ones = torch.ones_like(codes)
        values = self.features[:n_rows]
        features = StoredFeatures(values, None, self.device)
        return TrainingData(features, labels, ones[:, 0], codes, ones > 0, ones)

    def factorise(self, data=None):
        """Factorise all Hessians, with products in float32."""
        data = self.data if data is None else data
        self.factors = factorise(
            self.bottleneck, data, **self.penalties, dtype=torch.float32
        )

    def influence(self, data=None):
        """Compute the influence of all rows on targets; blocks are not kept."""
        data = self.data if data is None else data
        rows = slice(0, self.n_targets)
        target = LabelTarget("loss", self.data.labels[rows])
        asked = target.derivatives(self.bottleneck, self.data.features[rows])
        adjoint = solve_adjoint(self.bottleneck, self.factors, asked)
        sizes = [
            part.abs().amax()
            for _, part in first_order(
                self.bottleneck, data, adjoint, dtype=torch.float32, paths=False
            )
        ]
        self.largest = float(torch.stack(sizes).max())

    def count(self, work):
        """Return how many operations of products all rows take, and bytes of features.

        Factorisation and influence do the same with every row, and are counted on a
        few. A fit ends when it ends, and is done again.
        """
        if work == self.fit:
            return counted(work)
        n_rows = len(self.labels)
        few = min(COUNTED, n_rows // 2)
        once, twice = (counted(partial(work, self._data(k * few))) for k in (1, 2))
        return tuple(
            a + (b - a) / few * (n_rows - few) for a, b in zip(once, twice, strict=True)
        )


def counted(work):
    """Do some work; return its operations, and the bytes of features that it read."""
    n_bytes, blocks = 0, StoredFeatures.blocks

    def counting(self, *args):
        nonlocal n_bytes
        for block, rows in blocks(self, *args):
            n_bytes += rows.numel() * self.values.element_size()
            yield block, rows

    StoredFeatures.blocks = counting
    try:
        with FlopCounterMode(display=False, custom_mapping=IN_PLACE) as counter:
            work()
    finally:
        StoredFeatures.blocks = blocks
    return counter.get_total_flops(), n_bytes


@contextmanager
def never_moved():
    """Leave features on the host, although the device has memory for them."""
    fits, stored.fits = stored.fits, lambda *_: False
    try:
        yield
    finally:
        stored.fits = fits


def measure(clock, n_rows, options, ceilings):
    """Yield lines of the table, for the features in both places."""
    features = make_rows(n_rows, options.n_features, options.n_concepts, clock.device)
    for where in WHERE:
        on_device = where == WHERE[0]
        with never_moved():
            try:
                yield from _lines(clock, features, on_device, options, ceilings)
            except torch.OutOfMemoryError:
                yield where, "does not fit the memory of the device", *[None] * 7
        _release(clock)


def _lines(clock, features, on_device, options, ceilings):
    task = Task(clock, features, on_device, options.targets)
    where = WHERE[not on_device]
    of_bytes = ceilings["memory" if on_device else "transfer"]
    for name in ("fit", "factorise", "influence"):
        _release(clock)
        work, done = getattr(task, name), (None, None)
        seconds = clock.seconds(work)
        peak = _peak(clock)
        # A fit that is counted takes somewhat longer.
        if name != "fit" or 2 * seconds < clock.left:
            done = task.count(work)
        if name == "fit":
            task.prepare()
        if name == "factorise":  # again, of all rows: those before were few
            task.factorise()
        speed = [None if n is None else n / seconds for n in done]
        yield (
            where,
            f"influence of {options.targets} targets" if name == "influence" else name,
            seconds,
            len(features[0]) / seconds,
            *_against(speed[0], 1e12, ceilings["float32"]),
            *_against(speed[1], 1e9, of_bytes),
            peak,
        )


def _against(speed, unit, ceiling):
    """Return a speed in its unit, and its share of the ceiling."""
    if speed is None:
        return None, None
    return speed / unit, speed / unit / ceiling


def _release(clock):
    gc.collect()
    if clock.device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(clock.device)


def _peak(clock):
    """Return the most memory of the device since `_release`, in GiB."""
    if clock.device.type != "cuda":
        return None
    return torch.cuda.max_memory_allocated(clock.device) / GIB


def compare(clock, options):
    """Return how far numbers of the device are from those of the CPU, relatively."""
    n_rows = min(COMPARED, options.rows[0])
    rows = make_rows(n_rows, options.n_features, options.n_concepts, clock.device, 1)
    n_targets = min(16, options.targets)
    found = []
    for device in (clock.device, torch.device("cpu")):
        task = Task(Clock(0, device), rows, False, n_targets)
        task.fit()
        task.prepare()
        task.factorise()
        asked = LabelTarget("loss", task.data.labels[:n_targets])
        derivatives = asked.derivatives(task.bottleneck, task.data.features[:n_targets])
        adjoint = solve_adjoint(task.bottleneck, task.factors, derivatives)
        parts = first_order(
            task.bottleneck, task.data, adjoint, dtype=torch.float32, paths=False
        )
        influence = torch.cat([part for _, part in parts], dim=1).double().cpu()
        coef = np.concatenate([task.clf.coef_.ravel(), *task.clf.concept_coef_], None)
        proba = task.clf.predict_proba(rows[0][:1000])
        found.append((coef, proba, influence.numpy()))
    return [
        (name, n_rows, float(np.abs(a - b).max() / np.abs(b).max()))
        for name, a, b in zip(
            ("coefficients", "probabilities", "influence"), *found, strict=True
        )
    ]


def make_encoder(folder, small):
    """Write a model of the shape of MiniLM, with random weights and a word list."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    specials = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3}
    words = {word: i for i, word in enumerate(_words(), start=len(specials))}
    tokenizer = Tokenizer(models.WordLevel({**specials, **words}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=256,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
    ).save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=30_522,
        hidden_size=32 if small else 384,
        num_hidden_layers=2 if small else 6,
        num_attention_heads=4 if small else 12,
        intermediate_size=64 if small else 1536,
    )
    BertModel(config).save_pretrained(folder)
    kinds = ("Transformer", "Pooling")
    modules = [
        {
            "idx": i,
            "name": str(i),
            "path": "" if i == 0 else f"{i}_{kind}",
            "type": f"sentence_transformers.models.{kind}",
        }
        for i, kind in enumerate(kinds)
    ]
    pooling = {
        "word_embedding_dimension": config.hidden_size,
        "pooling_mode_mean_tokens": True,
    }
    files = {
        "modules.json": modules,
        "sentence_bert_config.json": {"max_seq_length": 256},
        "1_Pooling/config.json": pooling,
    }
    for name, content in files.items():
        path = Path(folder, name)
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(content))


def _words():
    return [f"word{i}" for i in range(2000)]


def embed(clock, options):
    """Yield texts a second of a model of the shape of MiniLM, for each precision."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(10, 120, options.texts)
    texts = [" ".join(rng.choice(_words(), n)) for n in lengths]
    on_gpu = clock.device.type == "cuda"
    with TemporaryDirectory() as folder:
        make_encoder(folder, options.small)
        for dtype in ("float32", "float16", "bfloat16") if on_gpu else ("float32",):
            embedder = SentenceEmbedder(
                folder,
                device=str(clock.device),
                dtype=dtype,
                batch_size=512 if on_gpu else 64,
                share_vectors=False,
            )
            embedder.transform(texts[:512])
            _release(clock)
            seconds = clock.seconds(lambda e=embedder: e.transform(texts))
            yield dtype, len(texts), seconds, len(texts) / seconds, _peak(clock)


COLUMNS = [
    *("features are", "what", "rows"),
    *("seconds", "rows a second", "TFLOP/s", "of ceiling", "GB/s", "of its ceiling"),
    "peak GiB",
]


def measure_sizes(clock, options, ceilings, lines, notes):
    """Add a line for every step that there is time and memory for."""
    seconds_a_row = 0.0
    for n_rows in options.rows:
        n_bytes = 4 * n_rows * options.n_features
        free = available_memory()
        if free is not None and 2 * n_bytes > free:
            notes.append(f"{n_rows:,} rows do not fit the memory of the host.")
            continue
        if seconds_a_row * n_rows > clock.left:
            notes.append(f"There was no time left for {n_rows:,} rows.")
            continue
        left = clock.left
        for where, what, *numbers in measure(clock, n_rows, options, ceilings):
            lines.append([where, what, n_rows, *numbers])
            if clock.left <= 0:
                notes.append(f"Time was up in the midst of {n_rows:,} rows.")
                return
        # Larger sizes take longer than in proportion where memory is short.
        seconds_a_row = 1.2 * (left - clock.left) / n_rows


def main(argv=None):
    parser = BenchmarkParser(
        "gpu",
        __doc__,
        rows=[300],
        n_features=8,
        n_concepts=2,
        targets=4,
        texts=20,
        budget=60,
    )
    parser.add_argument("--device", default="auto", help="cuda, cuda:N or cpu")
    parser.add_argument("--rows", type=int, nargs="+", default=[10**6, 10**7])
    parser.add_argument("--n-features", type=int, default=384)
    parser.add_argument("--n-concepts", type=int, default=10)
    parser.add_argument("--targets", type=int, default=256)
    parser.add_argument("--texts", type=int, default=50_000, help="to embed")
    parser.add_argument("--budget", type=float, default=400, help="in seconds")
    options = parser.parse_args(argv)
    device = resolve_device(options.device)
    if device.type != "cuda" and not options.small and options.device == "auto":
        parser.error("there is no CUDA device; --device cpu measures the processor.")
    clock = Clock(options.budget, device)
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else "none"
    ceilings = measure_ceilings(clock, options.small)
    notes = [f"GPU: {gpu}."]
    lines, agreement, texts = [], [], []
    try:
        agreement = compare(clock, options)
        texts = list(embed(clock, options))
        measure_sizes(clock, options, ceilings, lines, notes)
    finally:  # what there is, also if a step fails
        _write(options, notes, ceilings, agreement, texts, lines)


def _write(options, notes, ceilings, agreement, texts, lines):
    names = {
        "float32": ("products in float32, without TF32", "TFLOP/s"),
        "float64": ("products in float64", "TFLOP/s"),
        "memory": ("copies in the memory of the device, read and written", "GB/s"),
        "transfer": ("copies from pinned memory of the host", "GB/s"),
    }
    write_table(
        "gpu_ceilings",
        "What the device reaches at best",
        ["what", "unit", "measured"],
        [[*names[name], value] for name, value in ceilings.items()],
        notes,
        options=options,
    )
    write_table(
        "gpu_agreement",
        "Numbers of the device against those of the CPU",
        ["numbers", "rows", "largest difference / largest number"],
        [list(line) for line in agreement],
        notes,
        options=options,
    )
    write_table(
        "gpu_embedding",
        "Embedding texts by a model of the shape of MiniLM with random weights",
        ["dtype", "texts", "seconds", "texts a second", "peak GiB"],
        [list(line) for line in texts],
        notes,
        options=options,
    )
    write_table(
        "gpu",
        f"Ten concepts on {options.n_features} features, against ceilings of the run"
        if options.n_concepts == 10
        else f"{options.n_concepts} concepts, against ceilings of the run",
        COLUMNS,
        lines,
        [
            *notes,
            "Fit is the public method, with its checks. Operations are those of matrix "
            "products that PyTorch counts, in whichever precision, beside the ceiling "
            "of float32; on the CPU some are SciPy's, and not counted. Bytes are those "
            "of stored features that were read in blocks, beside the ceiling of the "
            "memory they are in. Numbers of a fit are counted while it is done again.",
        ],
        options=options,
    )


if __name__ == "__main__":
    main()
