"""The commands, a module each: its `command` is what mailfilter.plugin.main names."""
