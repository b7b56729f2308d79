"""Spans of other emitters, read: is it an inference, whose dialect, which usage. Pure."""
