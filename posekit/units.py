"""Units of length in other tools' files; inside posekit everything is in metres."""

#: By the words that camera files and TRC write.
METRES_PER_UNIT = {"m": 1.0, "cm": 0.01, "mm": 0.001}
