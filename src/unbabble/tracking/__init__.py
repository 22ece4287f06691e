"""Same talker, same track: diarization, and the permutation of the estimates."""
