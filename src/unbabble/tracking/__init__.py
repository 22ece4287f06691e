"""Same talker, same track: who talks when, and which estimate is whose."""
