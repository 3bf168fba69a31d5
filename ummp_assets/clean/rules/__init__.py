"""Rules that hold a measured value against a setting: what they measure, what bounds it, what a break is called.

They stand apart from the stages that measure, so that stored measurements can be held against other settings without
any decoder.
"""
