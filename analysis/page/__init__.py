"""What the page shows, section by section; `analysis/templates` says how its blocks look."""
