"""Multi-view 3D human and hand pose, with detectors that learn from the cameras' geometry."""

__version__ = "0.1.0"
