"""What of a dump of all threads is shown."""

from __future__ import annotations

import os
from pathlib import Path

import ftrackd
from ftrackd.hosting.stacks import plugin_stacks

OURS = str(Path(ftrackd.__file__).parent)
PYTHON = os.path.dirname(os.__file__)
IDLE = f"""\
Thread 0x00007f159ca9b6c0 (most recent call first):
  File "{OURS}/hosting/child/lanes.py", line 89 in _run
  File "{PYTHON}/threading.py", line 982 in run
"""
BUSY = f"""\
Thread 0x00007f159daa16c0 (most recent call first):
  File "{PYTHON}/queue.py", line 5 in get
  File "/studio/slow.py", line 5 in deep
  File "{PYTHON}/site-packages/studio/tools.py", line 3 in handle
  File "{OURS}/api/event/_dispatch.py", line 99 in call
  File "{PYTHON}/threading.py", line 982 in run
"""
MAIN = f"""\
Current thread 0x00007f15a17fab80 (most recent call first):
  File "{OURS}/hosting/child/process.py", line 78 in serve
  File "<frozen runpy>", line 198 in _run_module_as_main
"""


def test_when_a_plugin_runs_then_only_its_thread_is_shown_from_its_outermost_frame() -> None:
    stack = plugin_stacks(f"{IDLE}\n{BUSY}\n{MAIN}")
    assert stack.splitlines() == BUSY.splitlines()[:4]


def test_when_it_crashed_then_the_name_of_the_crash_is_kept() -> None:
    text = (
        f"Fatal Python error: Segmentation fault\n\n{IDLE}\n{BUSY}\n{MAIN}\nExtension modules: a (total: 1)\n"
    )
    stack = plugin_stacks(text)
    assert stack.startswith("Fatal Python error: Segmentation fault\n\nThread")
    assert "/studio/slow.py" in stack
    assert "lanes.py" not in stack
    assert "Extension modules" not in stack


def test_when_no_plugin_code_is_in_sight_then_everything_is_shown() -> None:
    text = f"{IDLE}\n{MAIN}"
    assert plugin_stacks(text) == text.strip()
    assert plugin_stacks("") == ""
