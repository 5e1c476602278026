"""Descriptions from a server that speaks the OpenAI interface (/v1/chat/completions)."""
