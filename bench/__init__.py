"""Measurements; each module is a program of its own, and tells what it measures."""
