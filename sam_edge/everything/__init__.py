"""Whole photos and whole data sets: everything in a photo, a detector's boxes, and IoU on truth."""
