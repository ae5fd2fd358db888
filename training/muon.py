"""Muon: AdamW with weight matrices updated along the orthogonal matrix nearest to their momentum."""

from collections.abc import Callable, Iterable

import torch

from precision import has_bfloat16


def orthogonalize(matrix: torch.Tensor, iterations: int = 5) -> torch.Tensor:
    """Nearest orthogonal matrices `(..., M, N)`, with singular values of about 0.7 to 1.2.

    Newton-Schulz iteration with the coefficients of Jordan et al., Muon: An optimizer for hidden layers in neural
    networks (2024), in bfloat16 where the device has it: a CPU that emulates it takes twelve times as long as in
    float32.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrix.bfloat16() if has_bfloat16(matrix.device.type) else matrix.float()
    tall = x.shape[-2] > x.shape[-1]
    x = x.mT if tall else x
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(iterations):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x.mT if tall else x).to(matrix.dtype)


class Muon(torch.optim.AdamW):
    """AdamW for gains, biases, embeddings and small kernels; orthogonalised steps for all larger weights.

    A convolution's weight is treated as a matrix of outputs x (inputs x taps). The step is scaled to the root mean
    square of AdamW's, 0.2 lr, so that learning rates and weight decay carry over (Liu et al., Muon is Scalable for LLM
    Training, 2025).

    Args:
        named_parameters (iterable of `(str, torch.nn.Parameter)`): The network's. Those whose name contains `embed` or
            `head`, and those with fewer than 16 rows or columns, are left to AdamW.
        lr (`float`), weight_decay (`float`): For both; class embeddings have ten times the learning rate, since each
            row of a table is trained by its own class alone.
        betas (`(float, float)`): AdamW's.
        momentum (`float`): Nesterov momentum of the orthogonalised steps.
    """

    def __init__(
        self,
        named_parameters: Iterable[tuple[str, torch.nn.Parameter]],
        lr: float = 1e-3,
        weight_decay: float = 0.01,
        betas: tuple[float, float] = (0.9, 0.99),
        momentum: float = 0.95,
    ) -> None:
        groups = [
            {"params": [], "momentum": momentum},
            {"params": [], "momentum": None},
            {"params": [], "momentum": None, "lr": 10 * lr},
        ]
        for name, parameter in named_parameters:
            if "class_embeddings" in name:
                groups[2]["params"].append(parameter)
                continue
            large = parameter.ndim > 1 and min(len(parameter), parameter[0].numel()) >= 16
            is_matrix = large and not any(part in name for part in ("embed", "head"))
            groups[0 if is_matrix else 1]["params"].append(parameter)
        super().__init__([group for group in groups if group["params"]], lr=lr, weight_decay=weight_decay, betas=betas)

    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Update the matrices, then leave the rest to AdamW."""
        for group in self.param_groups:
            if group["momentum"] is not None:
                self._step_matrices([p for p in group["params"] if p.grad is not None], group)
        return super().step(closure)

    @torch.no_grad()
    def _step_matrices(self, parameters: list[torch.nn.Parameter], group: dict) -> None:
        """Update the matrices, those of one shape together: on a GPU a kernel launch costs more than one of them."""
        by_shape: dict[tuple[int, ...], list[torch.nn.Parameter]] = {}
        for parameter in parameters:
            state = self.state[parameter]
            if not state:
                state["momentum"] = torch.zeros_like(parameter)
                state["step"] = torch.tensor(0.0)  # AdamW looks for it when a state is loaded
            state["step"] += 1
            by_shape.setdefault(parameter.flatten(1).shape, []).append(parameter)
        for shape, alike in by_shape.items():
            gradients = [parameter.grad for parameter in alike]
            averages = [self.state[parameter]["momentum"] for parameter in alike]
            torch._foreach_lerp_(averages, gradients, 1 - group["momentum"])
            directions = torch._foreach_lerp(gradients, averages, group["momentum"])
            steps = orthogonalize(torch.stack([each.flatten(1) for each in directions])) * (0.2 * max(shape) ** 0.5)
            torch._foreach_mul_(alike, 1 - group["lr"] * group["weight_decay"])
            torch._foreach_add_(alike, [s.view_as(p) for s, p in zip(steps, alike, strict=True)], alpha=-group["lr"])
            for parameter in alike:
                parameter.grad = None
