"""Both stages of a bottleneck, fitted to their optimum."""

from skclif.numerics.bottleneck import fit_concepts, fit_label
from skclif.numerics.heads import SoftmaxHead


def fit_stages(data, heads, n_classes, *, penalty, label=None, **concepts):
    """Return the bottleneck; `concepts` are other arguments of `fit_concepts`."""
    limits = {"tol": 1e-11, "max_iter": 100}
    label = SoftmaxHead(n_classes) if label is None else label
    fitted, first = fit_concepts(data, heads, label, **concepts, **limits)
    fitted, second = fit_label(fitted, data, penalty=penalty, **limits)
    assert first.converged.all()
    assert second.converged.all()
    return fitted
