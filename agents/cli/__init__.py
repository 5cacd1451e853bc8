"""The command `zerosearch`: one module for each subcommand."""
