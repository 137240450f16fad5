#!/usr/bin/env python3
"""Prints the figures of test_adam.cpp: torch.optim.Adam in double on four parameters with fixed gradients. Needs PyTorch."""
import torch

parameter = torch.tensor([0.5, -1.0, 2.0, 0.0], dtype=torch.float64, requires_grad=True)
optimiser = torch.optim.Adam([parameter], lr=0.05, betas=(0.8, 0.99), eps=1e-6)
for step in range(1, 6):
    parameter.grad = torch.tensor([0.1 * step, -3.0 / step, (-1.0) ** step, 1e-7 * step], dtype=torch.float64)
    optimiser.step()
print(", ".join(repr(v) for v in parameter.tolist()))
