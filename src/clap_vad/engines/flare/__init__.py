"""The deployment engine: NVIDIA FLARE carries messages between organisations over mutual TLS."""
