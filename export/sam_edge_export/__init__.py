"""From a Segment Anything checkpoint to a verified bundle. This is where torch lives."""
