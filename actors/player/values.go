package player

// isVolume reports whether v is within 0..1, which NaN is not.
func isVolume(v float64) bool { return v >= 0 && v <= 1 }

// volume makes 0 of -0, which the stored form does not keep.
func volume(v float64) float64 {
	if v == 0 {
		return 0
	}
	return v
}
