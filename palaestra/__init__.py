"""Palaestra: where embodied agents train."""
