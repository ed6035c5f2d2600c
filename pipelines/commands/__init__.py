"""The commands of the command line, one module a topic; they read options and print."""
