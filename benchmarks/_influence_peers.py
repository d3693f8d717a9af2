"""One answer by a peer, in the environment that `benchmarks.influence` makes for them.

    python _influence_peers.py {dattri,pydvl,pyinfluence} PROBLEM.npz ANSWER.npy [batch]

The influence of every training row on every test loss, (n_targets, n_rows), goes to
ANSWER.npy; seconds of processor time and growth of memory are printed as JSON. Every
peer gets the fitted parameters, the penalty of the mean loss as its damping, single
precision where it takes it, and answers that stay in memory.
"""

import json
import resource
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import torch

_WARM_UP = 500  # rows: first calls import, compile and tune
_MOST_MEMORY = 12 * 2**30  # beyond that it counts as too much, not as slow


def dattri(X, y, X_test, y_test, coef, intercept, C, batch):
    """Use the explicit Hessian; one batch, for each solves its own system again."""
    from dattri.algorithm.influence_function import IFAttributorExplicit
    from dattri.task import AttributionTask

    model = _linear(coef, intercept)

    def loss(params, data):
        logits = torch.func.functional_call(model, params, data[0])
        return torch.nn.functional.cross_entropy(logits, data[1])

    task = AttributionTask(loss, model, model.state_dict())
    attributor = IFAttributorExplicit(task, regularization=1 / (C * len(X)))
    train, test = _loader(X, y, len(X)), _loader(X_test, y_test, len(X_test))

    def answer():
        attributor.cache(train)
        return attributor.attribute(train, test).T.detach().numpy()

    return answer


def pydvl(X, y, X_test, y_test, coef, intercept, C, batch):
    """Use direct solution; Hessian and gradients of training rows in batches."""
    from pydvl.influence.torch import DirectInfluence

    influence = DirectInfluence(
        _linear(coef, intercept),
        torch.nn.functional.cross_entropy,
        regularization=1 / (C * len(X)),
    )
    train = _loader(X, y, batch)
    test = torch.from_numpy(X_test), torch.from_numpy(y_test)

    def answer():
        fitted = influence.fit(train)
        factors = fitted.influence_factors(*test)
        parts = [fitted.influences_from_factors(factors, *rows) for rows in train]
        return torch.cat(parts, dim=1).detach().numpy()

    return answer


def pyinfluence(X, y, X_test, y_test, coef, intercept, C, batch):
    """Use the closed form of two classes, in double precision; it reads C itself."""
    from pyinfluence._influence import InfluenceFunctions
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=C)
    model.coef_, model.intercept_, model.classes_ = coef, intercept, np.arange(2)
    model.n_features_in_ = X.shape[1]
    return lambda: (
        InfluenceFunctions(damping=0).fit(model, X, y).explain(X_test, y_test)
    )


def _linear(coef, intercept):
    model = torch.nn.Linear(coef.shape[1], len(coef))
    with torch.no_grad():
        model.weight.copy_(torch.from_numpy(coef))
        model.bias.copy_(torch.from_numpy(intercept))
    return model


def _loader(X, y, batch):
    """Return batches as slices: they cost nothing, where a collating loader does."""
    X, y = torch.from_numpy(X), torch.from_numpy(y)
    batches = [(X[s : s + batch], y[s : s + batch]) for s in range(0, len(X), batch)]
    return _Batches(batches, batch, len(X))


class _Batches:
    def __init__(self, batches, batch_size, n_rows):
        self.batches, self.batch_size = batches, batch_size
        self.sampler = torch.utils.data.SequentialSampler(range(n_rows))

    def __iter__(self):
        return iter(self.batches)

    def __len__(self):
        return len(self.batches)


def status(name):
    """Return a size in kilobytes that the kernel keeps of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))


def timed(answer):
    """Return the answer, seconds of processor time, and growth of memory in GB."""
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak
    before, start = status("VmRSS"), time.process_time()
    values = answer()
    seconds = time.process_time() - start
    return values, seconds, (status("VmHWM") - before) * 1024 / 1e9


def main():
    peer, problem, path, *batch = sys.argv[1:]
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    resource.setrlimit(resource.RLIMIT_AS, (_MOST_MEMORY, _MOST_MEMORY))
    given = dict(np.load(problem))
    given["C"] = float(given["C"])
    prepare, batch = globals()[peer], int(batch[0]) if batch else None
    few = {name: given[name][:_WARM_UP] for name in ("X", "y", "X_test", "y_test")}
    prepare(**{**given, **few}, batch=batch)()
    answer = prepare(**given, batch=batch)
    try:
        values, seconds, memory = timed(answer)
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "memory" not in str(error):
            raise
        sys.stdout.write(json.dumps({"seconds": None, "memory": None}))
        return
    np.save(path, values)
    sys.stdout.write(json.dumps({"seconds": seconds, "memory": memory}))


if __name__ == "__main__":
    main()
