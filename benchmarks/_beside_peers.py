"""Answers by captum, in the environment that `benchmarks.beside` makes for it.

    python _beside_peers.py PROBLEM.npz ANSWERS.npz

PROBLEM.npz has linear models, NAME_X, NAME_y, NAME_coef and NAME_intercept, and the
rows to explain with "label". ANSWERS.npz gets the influence of every training row on
each of their losses, (n_targets, n_rows); with the sign of the row's presence, positive
means harmful; the self-influence of every row of every model; and seconds of processor
time from a fitted model to the influence.

captum's exact class is used, with all eigenvectors of the Hessian, and the penalty of
the model as its regularisation: no other class of captum comes closer to retraining.
"""

import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from captum.influence import NaiveInfluenceFunction
from torch.utils.data import DataLoader, TensorDataset


def influence_function(X, y, coef, intercept, C, folder):
    """Return captum's view of a fitted model."""
    model = torch.nn.Linear(coef.shape[1], len(coef), dtype=torch.float64)
    with torch.no_grad():
        model.weight.copy_(torch.from_numpy(coef))
        model.bias.copy_(torch.from_numpy(intercept))
    checkpoint = Path(folder, "model.pt")
    torch.save(model.state_dict(), checkpoint)
    rows = TensorDataset(torch.from_numpy(X), torch.from_numpy(y))
    return NaiveInfluenceFunction(
        model,
        DataLoader(rows, batch_size=len(rows)),
        str(checkpoint),
        checkpoints_load_func=_load,
        loss_fn=torch.nn.CrossEntropyLoss(reduction="sum"),
        sample_wise_grads_per_batch=True,
        projection_dim=coef.size + len(coef),
        hessian_reg=1 / C,
    )


def _load(model, path):
    model.load_state_dict(torch.load(path, weights_only=True))
    return 1.0  # a learning rate, which nothing here has


def main():
    problem, path = sys.argv[1:]
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    given, found = dict(np.load(problem)), {}
    names = [name.removesuffix("_coef") for name in given if name.endswith("_coef")]
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            model = [given[f"{name}_{p}"] for p in ("X", "y", "coef", "intercept")]
            start = time.process_time()
            peer = influence_function(*model, float(given["C"]), folder)
            if name == "label":
                targets = [torch.from_numpy(given[p]) for p in ("X_test", "y_test")]
                # Their score is that of upweighting: it lowers the loss if positive.
                found["influence"] = -peer.influence(tuple(targets)).detach().numpy()
                found["seconds"] = time.process_time() - start
            found[f"{name}_self"] = peer.self_influence().detach().numpy()
    np.savez(path, **found)


if __name__ == "__main__":
    main()
