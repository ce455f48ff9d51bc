"""A headless Chromium, driven through its debugging pipe: no driver, no port, no network, no dependency."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-extensions",
    "--disable-dev-shm-usage", "--hide-scrollbars", "--remote-debugging-pipe",
)  # fmt: skip
_PATIENCE_S = 60.0
# Chromium reads commands from descriptor 3 and answers on 4: ours go there by way of numbers that are free.
_START = """
import os, sys
from fcntl import F_DUPFD, fcntl
read, write = (fcntl(int(number), F_DUPFD, 10) for number in sys.argv[1:3])
os.dup2(read, 3)
os.dup2(write, 4)
os.execv(sys.argv[3], sys.argv[3:])
"""


def find() -> str | None:
    """The browser's program, if one is installed."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """One page of one browser, and everything that it asked for or complained of."""

    def __init__(self, program: str, profile: Path) -> None:
        user = f"--user-data-dir={profile}"
        ours, theirs = os.pipe(), os.pipe()  # commands to the browser, answers from it
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                _START,
                *map(str, (ours[0], theirs[1])),
                program,
                *_FLAGS,
                user,
                "about:blank",
            ],
            pass_fds=(ours[0], theirs[1]),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(ours[0])
        os.close(theirs[1])
        self._commands, self._answers = ours[1], theirs[0]
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._answers, selectors.EVENT_READ)
        self._pending, self._number, self._session = b"", 0, None
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self._loaded = 0

    def __enter__(self) -> Self:
        [page] = [t for t in self._call("Target.getTargets")["targetInfos"] if t["type"] == "page"]
        attached = self._call("Target.attachToTarget", targetId=page["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._call(f"{domain}.enable")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._selector.close()
        os.close(self._commands)
        os.close(self._answers)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def open(self, path: Path) -> None:
        """Load a file, to its end."""
        before = self._loaded
        self._call("Page.navigate", url=path.absolute().as_uri())
        end = time.monotonic() + _PATIENCE_S
        while self._loaded == before:
            self._take(end)

    def run(self, script: str) -> Any:
        """The value of an expression, in the page."""
        answer = self._call("Runtime.evaluate", expression=script, returnByValue=True, userGesture=True)
        if "exceptionDetails" in answer:
            raise AssertionError(answer["exceptionDetails"])
        return answer["result"].get("value")

    def press(self, key: str, code: int) -> None:
        """Press a key where the focus is."""
        text = "\r" if key == "Enter" else " " if key == " " else ""
        options = {"key": key, "windowsVirtualKeyCode": code, "text": text} if text else {
            "key": key, "windowsVirtualKeyCode": code,
        }  # fmt: skip
        for kind in ("keyDown", "keyUp"):
            self._call("Input.dispatchKeyEvent", type=kind, **options)

    def prefer(self, scheme: str) -> None:
        """Be a reader whose system is light or dark."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self._call("Emulation.setEmulatedMedia", features=features)

    def resize(self, width: int, height: int) -> None:
        """Show the page in a window of so many pixels."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self._call("Emulation.setDeviceMetricsOverride", **size)

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + _PATIENCE_S
        while True:
            answer = self._take(end)
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]

    def _take(self, end: float) -> dict[str, Any]:
        """The next message, noted if it is news."""
        while b"\0" not in self._pending:
            if not self._selector.select(max(0.0, end - time.monotonic())):
                raise TimeoutError("the browser does not answer")
            data = os.read(self._answers, 1 << 16)
            if not data:
                raise EOFError("the browser has ended")
            self._pending += data
        text, self._pending = self._pending.split(b"\0", 1)
        message = json.loads(text)
        news, method = message.get("params", {}), message.get("method")
        if method == "Network.requestWillBeSent":
            self.requests.append(news["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(str(news["exceptionDetails"]))
        elif method == "Log.entryAdded":
            self.complaints.append(str(news["entry"]["text"]))
        elif method == "Runtime.consoleAPICalled":
            self.complaints.append(str(news["args"]))
        elif method == "Page.loadEventFired":
            self._loaded += 1
        return message
