"""`freshet smoke`: asks a running deployment, from outside, whether it does what it is for."""
