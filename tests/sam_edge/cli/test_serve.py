"""``sam-edge serve`` says in one line why it cannot."""

import socket
import subprocess
import sys
from importlib.resources import files

import pytest

from sam_edge.cli import main

PHOTO = str(files("sam_edge") / "assets" / "photos" / "chelsea.jpg")


@pytest.mark.parametrize("package", ["starlette", "uvicorn"])
def test_without_the_extra_it_names_it(package):
    code = (
        f"import sys; sys.modules[{package!r}] = None\n"
        "from sam_edge.cli import main\n"
        "sys.exit(main(['serve', '--no-browser']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == (
        f"sam-edge: serve needs {package}; install it with: pip install 'sam-edge[serve]'\n"
    )


def test_its_help_and_every_other_command_load_no_server():
    code = (
        "import sys\n"
        "from sam_edge.cli import main\n"
        "try: main(['serve', '--help'])\n"
        "except SystemExit: pass\n"
        "print({'starlette', 'uvicorn', 'asyncio'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()"
    assert "--no-browser" in done.stdout


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["absent.jpg"], 1, "absent.jpg: there is no such file"),
        (["{empty}"], 1, "has no photos"),
        (["-"], 1, "not a pipe"),
        (["-m", "absent"], 1, "neither a bundle's folder"),
        (["--host", "0.0.0.0"], 2, "add --token auto"),
        (["--host", "::"], 2, "add --token auto"),
        (["--allow-host", "photos.example"], 2, "add --token auto"),
        (["--token", "short"], 2, "16 letters"),
        (["--host", "300.1.1.1", "--token", "auto"], 1, "cannot be listened on"),
    ],
)
def test_what_cannot_be_served_is_said(tmp_path, monkeypatch, capsys, words, code, says):
    pytest.importorskip("starlette")
    pytest.importorskip("uvicorn")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    words = [word.replace("{empty}", "empty") for word in words]
    assert main(["serve", "--no-browser", "--port", "0", *words]) == code
    (line,) = capsys.readouterr().err.splitlines()
    assert says in line


def test_a_port_that_is_taken_is_said(capsys):
    pytest.importorskip("starlette")
    pytest.importorskip("uvicorn")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["serve", PHOTO, "--no-browser", "--port", str(port)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert f"port {port} cannot be listened on" in line
    assert "--port 0" in line
