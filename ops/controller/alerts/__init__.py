"""Alerts of Alertmanager, from the door to the tick of their fleet."""
