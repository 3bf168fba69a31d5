"""The assets, one file for each part of the data's way."""
