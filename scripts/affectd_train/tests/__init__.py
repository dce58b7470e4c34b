"""Tests of the training toolchain: scripts/test-training runs them.

They make their own small data set, in Kaggle's form, and need no other.
"""
