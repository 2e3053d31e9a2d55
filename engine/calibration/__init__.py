"""`dtype = "auto"` on CPUs: which conversion, computed in which type; measured once a host and model.

choice.py   what can be served without losing precision unasked, and which of the measured is taken
measure.py  the measurement
host.py     what about this machine the figures depend on
cache.py    the figures of earlier starts, in <state_dir>/calibration/
"""

from engine.calibration.cache import Calibration, calibrated, remembered
from engine.calibration.choice import Timing, Way, choose, ways_of

__all__ = ["Calibration", "Timing", "Way", "calibrated", "choose", "remembered", "ways_of"]
