"""Runs the same steps in Python.

Arguments: the file of the frame and a directory. Each input line names a source. Each output line is JSON with the
time of the steps and the peak memory above the start. The written file is removed.
"""

import base64
import json
import os
import sys
import tempfile
import time


def status(key):
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))


def reset_peak():
    with open("/proc/self/clear_refs", "w") as control:
        control.write("5")


def store(payload, directory):
    decoded = base64.b64decode(payload["data"], validate=True)
    with tempfile.NamedTemporaryFile(dir=directory, delete=False) as file:
        file.write(decoded)
    return file.name


def main(frame, directory):
    with open(frame, "rb") as file:
        data = file.read()
    text = data.decode()
    parse = lambda json_text: json.loads(json_text)["initial_image"]
    parsed = parse(text)
    payloads = {"payload": lambda: parsed, "text": lambda: parse(text), "bytes": lambda: parse(data)}

    for line in sys.stdin:
        make_payload = payloads[line.strip()]
        before = peak = None
        try:
            reset_peak()
            before = status("VmRSS:")
        except OSError:
            pass
        start = time.perf_counter()
        path = store(make_payload(), directory)
        milliseconds = (time.perf_counter() - start) * 1000
        if before is not None:
            peak = max(0, status("VmHWM:") - before)
        os.remove(path)
        print(json.dumps({"milliseconds": milliseconds, "memory": peak}), flush=True)


main(*sys.argv[1:])
