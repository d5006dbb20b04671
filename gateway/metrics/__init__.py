"""What a gateway counts of itself, and the page where a collector reads it.

catalogue    every metric: its name, kind, labels and meaning
counters     what requests leave behind: plain numbers, one call per request
reading      one process at one moment: counters and gauges as a value that JSON can carry
merging      several processes as one
exposition   that as text; the one place that knows prometheus_client
page         GET /metrics
reference    the table of the README
"""
