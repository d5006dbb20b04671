"""What the gateway costs: ``python -m tests.bench``, Linux only. One core for the gateway, one for backend and load.

micro       what each step of a request costs, in one process: ``python -m tests.bench.micro``
__main__    the command line; reads as the list of what happens
scenarios   how a load is applied: a table
subjects    what it is applied to: the gateway, nginx, haproxy, or nothing at all
interpreter which Python runs the gateway: the fastest there is
material    keys, tokens and requests, made anew for each run
measure     one scenario on one subject, as figures
targets     what the gateway should reach, and whether it does
report      medians, tables, the results file
plot        the picture in the README
build       compiles `load/origin.c`, the backend, and `load/load.c`, the browsers
processes   starts and stops programs
cores       who runs where, and how many sockets one may have
usage       CPU and memory of a process and its children
"""
