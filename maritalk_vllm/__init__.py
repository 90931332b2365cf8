"""An open serving engine for MariTalk models: the MariTalk Local API on vLLM."""

__version__ = "0.1.0"
