"""Training toolchain of affectd's expression classifier."""

CLASSES = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
"""FER2013's order, everywhere: labels, network outputs, manifests."""
