"""The subcommands of `zoo`: each reads its flags, calls the rooms and prints."""
