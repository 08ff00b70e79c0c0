import enum


class PointStatus(enum.IntEnum):
    """Why a 3D point is there, or is not."""

    OK = 0
    TOO_FEW_VIEWS = 1  #: seen in fewer views than asked for
    NO_AGREEMENT = 2  #: seen often enough, but too few views agree on one place
    ILL_CONDITIONED = 3  #: the agreeing rays are nearly parallel
    BEHIND_CAMERA = 4
    IMPLAUSIBLE = 5  #: of a hand that is not at the person's wrist
    FILLED = 6  #: not triangulated, filled in from its neighbours in time
    LIFTED = 7  #: seen by fewer views than a point needs, its depth told by a lifter


#: Of these a point is there; of the others it is missing.
PRESENT = (PointStatus.OK, PointStatus.FILLED, PointStatus.LIFTED)
