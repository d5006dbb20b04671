"""The ChatKit protocol as far as a gateway must know it: operations, bodies, frames."""
