"""Every row of the threat list as an attack on the running gateway, over sockets. ``python -m tests.attack``.

threats.txt     what must not get through, a line each; a test holds the rows to it
rows/           the attacks as data, a module per section
row.py          what an attack must meet: refused, served, or a trial of several steps
judge.py        the checks that every refusal and every served request gets
wire.py         bytes out, answers in; no client library that would tidy a request
marks.py        what must never come out again: every secret and personal value of the rows
world.py        everything that runs: the gateway, two backends, the issuers
settings.py     the settings files that bind them
issuers.py      issuers, and their keys right and wrong
key_server.py   endpoints for keys that behave, and that do not; the address nobody may visit
backend.py      a backend that keeps what it got, and answers as it is asked to
requests.py     requests and tokens, right and wrong
processes.py    the real processes, and all they wrote
"""
