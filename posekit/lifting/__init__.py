"""Lifting: 3D poses from 2D poses of a single view, by a network that never saw a pair of the two."""
