"""Files for devices: one module a target, each with a `build` that gives the file's bytes and what it answers."""
