"""The leaderboard service: asks zapeval for every score."""
