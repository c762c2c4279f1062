"""Dawdle & Daughters: a small Django shop that embeds journeykit."""
