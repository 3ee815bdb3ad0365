"""Train, evaluate and export self-supervised and energy-based models from papers' recipes."""

__version__ = "0.1.0"
