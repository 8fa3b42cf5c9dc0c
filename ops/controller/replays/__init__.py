"""Replay objects: handed to the worker once each, answered in their status."""
