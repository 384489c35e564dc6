"""The deployment engine: NVIDIA FLARE carries the questions between organisations over mutual TLS."""
