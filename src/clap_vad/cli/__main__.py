"""``python -m clap_vad.cli``."""

from .main import main

main()
