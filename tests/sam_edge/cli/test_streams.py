"""Streams that are pipes, closed, full or terminals, without a process of their own."""

import io
import logging
import os
import signal
import sys

import numpy as np
import pytest
from PIL import Image

from sam_edge.cli import console, frame
from sam_edge.errors import ImageError
from sam_edge.photos import Photo


@pytest.fixture
def stdin(monkeypatch):
    def holds(data, terminal=False):
        stream = io.TextIOWrapper(io.BytesIO(data))
        monkeypatch.setattr(stream, "isatty", lambda: terminal, raising=False)
        monkeypatch.setattr(sys, "stdin", stream)

    return holds


def test_a_photo_comes_through_a_pipe(stdin):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    stdin(file.getvalue())
    photo = Photo(None)
    assert np.array_equal(photo.read(), pixels)
    assert (photo.name, photo.file_name) == ("stdin", "stdin")


@pytest.mark.parametrize("closed", [True, False])
def test_a_terminal_or_a_closed_stdin_is_no_photo(stdin, monkeypatch, closed):
    stdin(b"", terminal=True)
    if closed:
        monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(ImageError, match="stdin: there is no photo"):
        Photo(None).read()


def test_what_a_stream_still_holds_is_thrown_away(tmp_path):
    path = tmp_path / "file"
    with path.open("w") as stream:
        stream.write("held")
        before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else None
        console.discard(stream)
        stream.flush()
        stream.write("more")
        if before is not None:
            assert len(os.listdir("/proc/self/fd")) == before
    assert path.read_text() == ""
    console.discard(io.StringIO())  # a stream without a descriptor is left alone


@pytest.mark.skipif(sys.platform == "win32", reason="pipes have modes elsewhere")
def test_a_pipe_and_a_socket_are_programs_that_read(monkeypatch, tmp_path):
    import socket

    reading, writing = os.pipe()
    one, other = socket.socketpair()
    with (
        open(reading),
        open(writing, "w") as pipe,
        one,
        other,
        (tmp_path / "file").open("w") as file,
    ):
        for stream, piped in (
            (pipe, True),
            (other, True),  # it has a fileno, as a stream has
            (file, False),
            (None, False),
            (io.StringIO(), False),
        ):
            monkeypatch.setattr(sys, "stdout", stream)
            found = frame._is_piped()
            monkeypatch.undo()
            assert found is piped


def test_what_is_asked_for_is_shown_line_by_line_without_control_characters(capsys):
    console.show("a\tb\x1b[2J\nc")
    console.show("d\n")
    assert capsys.readouterr().out == "a       b\ufffd[2J\nc\nd\n"


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_a_terminal_that_knows_fewer_letters_gets_escapes(monkeypatch, encoding):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=encoding))
    console.show("é")
    sys.stdout.flush()
    told = "é\n".encode() if encoding == "utf-8" else b"\\xe9\n"
    assert raw.getvalue() == told
    errors = io.BytesIO()
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(errors, encoding=encoding))
    console.say("é")
    assert errors.getvalue() == told


def test_a_closed_stdout_is_an_error_and_a_closed_stderr_is_none(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(OSError, match="stdout is closed"):
        console.show("x")
    monkeypatch.setattr(sys, "stderr", None)
    console.say("x")
    assert console.progress_bar("points") is None


def test_a_line_is_said_over_the_bar_of_a_terminal(monkeypatch, capsys):
    console.say("one\x07")
    assert capsys.readouterr().err == "one\ufffd\n"
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    console.say("two")
    assert capsys.readouterr().err == "\r\033[Ktwo\n"


def test_log_lines_hold_no_control_characters():
    record = logging.LogRecord("sam_edge", logging.WARNING, "x.py", 1, "a %s", ("\x1b[2J",), None)
    assert frame._OneLine().format(record) == "a \ufffd[2J"


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (FileNotFoundError(2, "No such file", "a.png"), "a.png: No such file"),
        (OSError(28, "No space left on device"), "No space left on device"),
        (OSError("two\nlines"), "two lines"),
        (ImageError("two\n  lines"), "two lines"),
    ],
)
def test_an_error_that_says_what_is_wrong_is_one_line(error, line):
    assert frame.one_line(error) == line


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (MemoryError(), "out of memory"),
        (FileNotFoundError(2, "No such file"), "the current folder is gone"),
        (KeyError("x"), "unforeseen: KeyError: 'x'; "),
        (RuntimeError("y" * 9000), "y" * 500 + "; "),
    ],
)
def test_an_error_that_does_not_gets_its_next_step(error, words):
    told = frame.one_line(error)
    assert words in told
    assert "y" * 501 not in told
    assert "\n" not in told


def test_ctrl_c_is_answered_once_the_command_line_runs(monkeypatch):
    before = signal.getsignal(signal.SIGINT)
    try:
        from sam_edge import start

        signal.signal(signal.SIGINT, signal.SIG_DFL)
        monkeypatch.setattr(frame, "main", lambda: 7)
        assert start.main() == 7
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_ctrl_c_during_the_work_is_one_line(monkeypatch, capsys):
    def stop():
        raise KeyboardInterrupt

    monkeypatch.setattr(frame, "build_parser", stop)
    assert frame.main([]) == 1
    assert capsys.readouterr().err == "sam-edge: stopped\n"
