"""`gateway chat`: a ChatKit client for terminals, scripts and smoke tests. Nothing here runs in the gateway itself.

arguments     what may be typed
command       one question, or many: from arguments to an exit status
interactive   many: the prompt                          credential  from a file or the environment to a header
screen        what goes to standard output, what to standard error
conversation  one thread: questions in, events out
client        HTTP: one request, one answer in flight   shown       what a person is shown of an event
turn          how an answer is going                    bodies      the requests
events        bytes of a stream to events
"""
