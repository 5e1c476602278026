"""Scoring on many machines with Ray Data: a manifest in, Parquet out."""
