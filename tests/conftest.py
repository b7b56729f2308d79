"""What all tests share."""

import os

# Screens are as wide as the terminal says. Where tests run there may be none, or a narrow one: words must not wrap.
os.environ["COLUMNS"] = "200"

# A login of whoever runs the tests is nobody's here.
os.environ["XDG_CONFIG_HOME"] = "/nonexistent/tollbook-tests"
