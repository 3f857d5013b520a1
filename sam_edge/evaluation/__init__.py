"""How good masks are: data sets with masks that people drew, and IoU with them."""
