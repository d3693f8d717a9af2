"""Both stages of a bottleneck, fitted to their optimum."""

from skclif.numerics.bottleneck import fit_concepts, fit_label


def fit_stages(data, heads, n_classes, *, penalty, **concepts):
    """Return the bottleneck; `concepts` are other arguments of `fit_concepts`."""
    limits = {"tol": 1e-11, "max_iter": 100}
    fitted, first = fit_concepts(data, heads, n_classes, **concepts, **limits)
    fitted, second = fit_label(fitted, data, penalty=penalty, **limits)
    assert first.converged.all()
    assert second.converged.all()
    return fitted
