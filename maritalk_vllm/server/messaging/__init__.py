"""Typed messages between processes and between nodes: their base class, their encoding, and errors as messages."""
