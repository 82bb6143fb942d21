"""Reports: tables and figures of scorecards."""
