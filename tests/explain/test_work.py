"""The work of requests of known sizes, and what "auto" therefore takes for them."""

import pytest
import torch

from skclif._explain.work import MOST_WORK, Work
from skclif.numerics.bottleneck import Bottleneck, TrainingData
from skclif.numerics.heads import HeadStack, SoftmaxHead
from skclif.numerics.targets import LabelTarget, Question


def work_of(n_rows, n_features, values, n_classes, n_targets, paths=True, fits=True):
    """Return the work for concepts of so many values each."""
    stack, label = HeadStack([SoftmaxHead(n) for n in values]), SoftmaxHead(n_classes)
    n_inputs = (stack.n_activations if values else n_features) + 1
    bottleneck = Bottleneck(
        stack,
        label,
        torch.empty(stack.n_scores, n_features + 1),
        torch.empty(label.n_scores, n_inputs),
    )
    data = TrainingData(
        torch.empty(n_rows, n_features, device="meta"),
        *(torch.empty(n_rows, device="meta") for _ in range(2)),
        *(torch.empty(n_rows, len(values), device="meta") for _ in range(3)),
    )
    target = LabelTarget("loss", torch.zeros(n_targets, dtype=torch.int64))
    question = Question(torch.empty(n_targets, n_features, device="meta"), target)
    return Work.of(bottleneck, data, [question], paths=paths, newton_fits=fits)


@pytest.mark.parametrize(
    ("sizes", "method", "screen"),
    [
        ((300, 50, [2, 2], 2, 100), "newton", None),
        ((1463, 384, [3] * 10, 5, 50, False), "newton", None),
        # Comments of patients, and reviews of restaurants, by path.
        ((3142, 384, [2] * 18, 3, 1117), "leverage", "leverage"),
        ((1463, 384, [3] * 10, 5, 1685), "newton", None),
        ((20_000, 384, [3] * 10, 5, 256), "leverage", "first_order"),
        ((300, 50, [2, 2], 2, 100, True, False), "leverage", "leverage"),
        ((3000, 384, [], 5, 1000), "newton", None),
        ((6000, 384, [], 5, 1000), "leverage", "leverage"),
    ],
)
def test_what_sizes_take(sizes, method, screen):
    work = work_of(*sizes)
    assert work.method(MOST_WORK) == method
    if screen is None:
        return
    assert work.screen(follows=True) == screen
    assert work.screen(follows=False) == "leverage"
    if screen == "leverage":
        # What is left is enough for the rows at the top.
        n_rows = work.bears("newton", screen)
        spent = work.n_rows * work.leverage + n_rows * work.newton
        assert n_rows == 0 if work.newton == float("inf") else n_rows >= 100
        assert n_rows == 0 or spent <= MOST_WORK
    else:
        assert 1000 <= work.bears("leverage", screen) < work.n_rows
        assert work.bears("leverage", screen) * work.leverage <= MOST_WORK


def test_a_share_is_left_for_the_top_whatever_the_rest_takes():
    work = Work(1000, newton=MOST_WORK / 100, leverage=MOST_WORK)
    assert work.screen(follows=False) == "leverage"
    assert work.bears("newton", "leverage") == 15
    assert work.bears("newton", "first_order") == 100


def test_work_grows_with_everything():
    base = (1000, 64, [3] * 4, 3, 200, True)
    small = work_of(*base)
    for k, larger in enumerate([2000, 128, [3] * 8, 6, 400]):
        more = work_of(*base[:k], larger, *base[k + 1 :])
        assert more.n_rows * more.newton > small.n_rows * small.newton
        assert more.n_rows * more.leverage > small.n_rows * small.leverage
    fewer = work_of(*base[:-1], False)
    assert fewer.newton < small.newton
    assert fewer.leverage < small.leverage
