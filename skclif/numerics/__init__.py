"""Pure functions on arrays and tensors: heads, solvers, the bottleneck, influence.

Nothing here knows scikit-learn or the state of an estimator; device and dtype follow
the inputs.
"""
