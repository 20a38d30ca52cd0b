"""Files that are none to read."""

import os
import socket


def bind_socket(folder, name):
    """Put a socket into a folder."""
    here = os.getcwd()
    os.chdir(folder)  # the path of a socket must be short
    try:
        socket.socket(socket.AF_UNIX).bind(name)
    finally:
        os.chdir(here)
