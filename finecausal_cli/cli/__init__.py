"""The command line: one file a command. Each parses, calls one function and prints; heavy imports wait until then."""
