"""What breaks between the gateway and its two neighbours, done on purpose over real sockets.

`process` runs the gateway as a process of its own and counts what it holds; `backend` and `client` are its neighbours,
who keep to no rules; `recording` is an answer, and the oracle of what a client may see of its beginning. Every test
ends with the promise that the gateway holds nothing any more.
"""
