"""One line for a route's table: a test is one user who asks as fast as a machine does."""

NO_LIMITS = "limits = {answers_per_minute = 0, reads_per_minute = 0, writes_per_minute = 0, open_streams = 0}"
