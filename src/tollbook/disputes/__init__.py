"""Disputes: cases, what is found out about them, and what is done. Pure."""
