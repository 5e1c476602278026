"""Encoders taught distortions on pristine panoramas outside every benchmark."""
