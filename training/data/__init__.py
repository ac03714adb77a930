"""Labelled images: formats, checks, importers, augmentation and batches."""
