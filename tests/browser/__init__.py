"""Pages in headless Chromium against real processes; `make browser` runs these alone."""
