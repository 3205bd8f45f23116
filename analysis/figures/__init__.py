"""The report's figures, one file each: what it shows as a plain structure, and its drawing."""
