"""What operators meet in `deploy/`: every file is loaded, and every deployment run as far as it goes without an engine.

files       the files: which there are, and how they are read
dockerfile  a Dockerfile's steps, carried out in an empty folder instead of a container
machine     the programs of a deployment as processes: its commands, variables, files, secrets and health checks
"""
