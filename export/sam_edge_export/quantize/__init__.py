"""8-bit encoders: equalised, calibrated, each in its engine's own nodes.

``equalize`` and ``products`` know weights, ``recipes`` writes graphs, ``calibrate`` measures
ranges, ``encoder`` times encoders and finds what must stay float, ``search`` compares recipes.
"""
