"""What may enter a board: fact sheets, intake checks, forensics, receipts."""
