"""The segment detector: network, local training, scoring, the saved model."""

import os

# Read when torch loads its OpenMP runtime. Its default lets a waiting thread spin, which on a machine that others use
# too costs more than half of the training rate; on a free one both are alike (benchmarks/training.py).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
