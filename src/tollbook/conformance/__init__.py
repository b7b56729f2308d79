"""Conformance: whether a gateway passes on every figure that its vendor tells, and records what its vendor bills.

The same requests go to a simulated vendor twice, directly and through the gateway; what a client learns about money
must be the same.
"""
