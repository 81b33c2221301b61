"""Tables and pages that jobs print and write, and the form of `result.json`."""
