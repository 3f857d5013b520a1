"""Words to boxes, and boxes to masks: an open-vocabulary detector in front of SAM."""
