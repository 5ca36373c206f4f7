"""How the weights follow the gradient: Muon for the matrices, Adam for the rest; schedule and average."""

import math

import torch
from torch.optim.swa_utils import get_ema_multi_avg_fn

MOMENTUM = 0.95
# The quintic a x + b x^3 + c x^5 drives singular values towards 1 (Jordan et al. 2024).
QUINTIC = (3.4445, -4.7750, 2.0315)
ITERATIONS = 5
WARM_UP = 0.02  # share of the training in which the learning rate rises: the first gradients are no guide


class Muon(torch.optim.Optimizer):
    """Steps that are orthogonal matrices, so that all directions of a weight learn at one speed.

    Adam's steps go mostly along the few directions with strong gradients. After Jordan et al.
    2024; scaled as Adam's steps would be, so that both take the same learning rate (Liu et al.
    2025). torch.optim.Muon takes no convolutions, and computes in bfloat16: twice the time here.
    """

    def __init__(self, weights, learning_rate):
        super().__init__(weights, dict(lr=learning_rate))

    @torch.no_grad()
    def step(self):
        """Update the weights in place; (A, B, height, width) counts as a matrix (A, height * width * B), as it lies."""
        for group in self.param_groups:
            ahead = []
            for weight in group["params"]:
                gradient, state = weight.grad.permute(0, 2, 3, 1).flatten(1), self.state[weight]
                if not state:
                    state["momentum"] = torch.zeros_like(gradient)
                state["momentum"].lerp_(gradient, 1 - MOMENTUM)
                ahead.append(gradient.lerp(state["momentum"], MOMENTUM))
            for weight, matrix in zip(group["params"], orthogonalise(ahead)):
                rate = group["lr"] * 0.2 * max(matrix.shape) ** 0.5
                weight = weight.permute(0, 2, 3, 1)
                weight.add_(matrix.view(weight.shape), alpha=-rate)


def orthogonalise(matrices):
    """Set all singular values of some matrices (M, N) to about 1, by Newton-Schulz iteration.

    It multiplies a matrix X by polynomials of X X^T again and again. These commute, so they are multiplied with each
    other instead, all (M, M) of one size at once: a tenth of a step is saved, for X is much wider than high.
    """
    wide = [matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T for matrix in matrices]
    factors = [None] * len(wide)
    for side in {len(matrix) for matrix in wide}:
        same = [n for n, matrix in enumerate(wide) if len(matrix) == side]
        grams = torch.stack([wide[n] @ wide[n].T for n in same])
        squares = grams.diagonal(dim1=1, dim2=2).sum(1)[:, None, None] + 1e-14  # of the norms
        for n, factor in zip(same, _quintics(grams / squares) / squares.sqrt()):
            factors[n] = factor
    results = [factor @ matrix for factor, matrix in zip(factors, wide)]
    return [
        result if result.shape == matrix.shape else result.T.contiguous() for result, matrix in zip(results, matrices)
    ]


def _quintics(gram):
    """Return the factor by which ITERATIONS of the quintic multiply matrices X, from X X^T, (K, M, M)."""
    (a, b, c), factor = QUINTIC, None
    for _ in range(ITERATIONS):
        step = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        step.diagonal(dim1=1, dim2=2).add_(a)
        factor = step if factor is None else step @ factor
        gram = step @ gram @ step
    return factor


def build_optimizers(network, config):
    """Return the list of optimizers that step together; every weight is in one of them.

    Muon takes the hidden convolutions. The first and the last one, and all biases, stay with Adam.

    >>> from n2vlib.learning import N2VConfig, UNet
    >>> [type(optimizer).__name__ for optimizer in build_optimizers(UNet(1, 1), N2VConfig())]
    ['Adam', 'Muon']
    """

    def is_hidden(weight):
        convolution = weight.ndim == 4 and weight.shape[1] > 1 and weight.shape[2] > 1
        return convolution and config.optimizer == "muon"

    matrices = [weight for weight in network.parameters() if is_hidden(weight)]
    rest = [weight for weight in network.parameters() if not is_hidden(weight)]
    adam = torch.optim.Adam(rest, lr=config.learning_rate, betas=(0.9, 0.99), fused=True)
    return [adam, Muon(matrices, config.learning_rate)] if matrices else [adam]


def cosine_schedule(fraction):
    """Return the share of the learning rate at this fraction of the training: up, then down to 0.

    >>> [round(cosine_schedule(fraction), 2) for fraction in (0, 0.02, 0.5, 1)]
    [0.01, 1.0, 0.5, 0.0]
    """
    return min(1, fraction / WARM_UP + 0.01) * (1 + math.cos(math.pi * fraction)) / 2


@torch.no_grad()
def update_average(averages, weights, updates, decay):
    """Let a running average of weights follow them by a step; it reaches back a ninth of the updates at first.

    With the full decay from the start, a short training would return mostly its random first weights. (AveragedModel
    of torch does the same in 0.6 instead of 0.1 ms: 3 % of a step.)
    """
    reach = min(decay, (1 + updates) / (10 + updates)) if updates else 0
    get_ema_multi_avg_fn(reach)(averages, weights, updates)
