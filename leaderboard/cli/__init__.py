"""The commands that the leaderboard contributes to ``zapeval``."""
