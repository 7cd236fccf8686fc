package player

// isVolume reports whether v is within 0..1, which NaN is not.
func isVolume(v float64) bool { return v >= 0 && v <= 1 }
