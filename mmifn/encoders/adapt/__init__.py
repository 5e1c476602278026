"""Adapting encoders to distortions on pristine panoramas outside every benchmark."""
