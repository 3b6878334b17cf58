"""How it is learned: algorithms, solvers, server optimizers, messages, transports."""
