"""The probe, run in the child of a process like the page's, which enters one layer of the sandbox and no other."""

import ctypes
import io
import json
import os
import sys

from pypdf import PdfReader  # the one beside this file

from sliminfer.documents import sandbox

ENTER = {
    sandbox.NAMESPACES: sandbox._in_own_namespaces,
    sandbox.LANDLOCK: sandbox._within_landlock,
    sandbox.SECCOMP: sandbox._under_seccomp,
}


def main(layer: str, targets: str) -> None:
    sandbox.keep_to_itself()  # as app.py does
    told = json.loads(targets) | {"parent": os.getpid()}
    child = os.fork()
    if child:
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    libc = ctypes.CDLL(None, use_errno=True)
    sandbox._without_new_privileges(libc)
    entered = ENTER[layer](libc)
    text = PdfReader(io.BytesIO(b"\n%" + json.dumps(told).encode())).pages[0].extract_text()
    os.write(1, json.dumps([entered, json.loads(text)]).encode())
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
