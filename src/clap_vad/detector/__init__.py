"""The segment detector: network, local training, scoring, the saved model."""

import os

# Read when torch loads its OpenMP runtime. By default waiting threads spin, which costs more than half of the training
# rate on a shared machine; on an idle machine both settings are equally fast (benchmarks/training.py).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
