"""A real JupyterLab in a real browser: `pytest tests/browser --browser`.

It needs Debian's chromium (`apt-get install -y --no-install-recommends chromium fonts-dejavu-core`,
or CHROMIUM=/path) and `pip install playwright`; never `playwright install`.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOKEN = "browser-test"
SETTINGS = {  # the pop-ups and the lazy drawing that make a browser test fail now and then
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "notebook-extension/tracker": {"windowingMode": "none"},
    "docmanager-extension/plugin": {"autosave": False},
}
READY = """window.jupyterapp?.shell.currentWidget?.context?.isReady
    && window.jupyterapp.shell.currentWidget.sessionContext.session?.kernel?.status === 'idle'"""
PROBLEMS = (
    ".jp-RenderedText[data-mime-type='application/vnd.jupyter.stderr'],"
    ".jp-RenderedText[data-mime-type='application/vnd.jupyter.error'], .wm-error"
)


def pytest_addoption(parser):
    parser.addoption("--browser", action="store_true", help="run the tests in headless Chromium")
    parser.addoption("--shots", metavar="DIR", help="keep the screenshots of the browser tests")


def pytest_configure(config):
    config.addinivalue_line("markers", "browser: needs --browser, chromium and playwright")


def pytest_collection_modifyitems(config, items):
    # A default, because without this folder on the command line the option is not known.
    if not config.getoption("--browser", False):
        for item in items:
            if item.get_closest_marker("browser"):
                item.add_marker(pytest.mark.skip(reason="browser tests run with --browser"))


@pytest.fixture(scope="session")
def lab(tmp_path_factory):
    """A server on a folder that looks like a checkout: (address, folder, api)."""
    tmp = tmp_path_factory.mktemp("lab")
    (tmp / "root").mkdir()
    shutil.copytree(ROOT / "utils", tmp / "root/utils")  # references must lie in their course
    for name in ("assets", "solutions", "pyproject.toml"):
        (tmp / "root" / name).symlink_to(ROOT / name)
    for name, value in SETTINGS.items():
        file = tmp / "settings/@jupyterlab" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(value))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # The kernel is a learner's: it must not take itself for one that is graded.
    env = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST") and k != "WM_QUIET"}
    env |= {"WM_PROFILE": "smoke"}
    env |= {"PYTHONPATH": str(tmp / "root"), "JUPYTERLAB_SETTINGS_DIR": str(tmp / "settings")}
    env |= {"JUPYTERLAB_WORKSPACES_DIR": str(tmp / "spaces"), "IPYTHONDIR": str(tmp / "ipython")}
    env |= {"JUPYTER_CONFIG_DIR": str(tmp / "config"), "JUPYTER_RUNTIME_DIR": str(tmp / "runtime")}
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"]
    command += ["--expose-app-in-browser", "--ip=127.0.0.1", f"--port={port}", "--port-retries=0"]
    command += [f"--IdentityProvider.token={TOKEN}", f"--ServerApp.root_dir={tmp / 'root'}"]
    base = f"http://127.0.0.1:{port}"

    def api(method, path):
        headers = {"Authorization": f"token {TOKEN}"}
        request = urllib.request.Request(f"{base}/api/{path}", method=method, headers=headers)
        return urllib.request.urlopen(request, timeout=5).read()

    with open(tmp / "lab.log", "w") as log:
        server = subprocess.Popen(command, env=env, stdout=log, stderr=log)
    try:
        for _ in range(240):
            try:
                api("GET", "status")
                break
            except OSError:
                time.sleep(0.25)
        else:
            pytest.fail((tmp / "lab.log").read_text()[-2000:])
        yield base, tmp / "root", api
    finally:
        server.terminate()
        server.wait(20)


@pytest.fixture(scope="session")
def browser():
    playwright = pytest.importorskip("playwright.sync_api")
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chrome")
    assert chromium, "no chromium: apt-get install -y --no-install-recommends chromium"
    arguments = ["--no-sandbox", "--disable-dev-shm-usage"]
    with playwright.sync_playwright() as api:
        program = api.chromium.launch(executable_path=chromium, args=arguments)
        yield program
        program.close()


@pytest.fixture
def notebook(lab, browser):
    """`notebook(path)` copies a notebook into the server, opens it and runs all: the page.

    The path may be a notebook of the course, or a list of cells to make one of. It fails if the
    page shows an error or anything on stderr, unless `problems` is allowed.
    """
    base, root, api = lab
    page = browser.new_page(viewport={"width": 1000, "height": 1000})
    page.set_default_timeout(60_000)

    def open_and_run(
        source, name="test.ipynb", theme="Light", seconds=60, problems=False, run=True
    ):
        if isinstance(source, list):
            import nbformat.v4 as v4

            made = v4.new_notebook(cells=[v4.new_code_cell(cell) for cell in source])
            # Without a kernel's name JupyterLab would ask for one.
            made.metadata.kernelspec = {"name": "python3", "display_name": "Python 3"}
            (root / name).write_text(json.dumps(made))
        else:
            name = Path(source).name
            shutil.copy(source, root / name)
        page.set_default_timeout(seconds * 1000)
        page.goto(f"{base}/doc/tree/{name}?token={TOKEN}&reset")
        page.wait_for_function(READY)
        # The command's promise resolves when every cell has run.
        page.evaluate(
            """async ([theme, run]) => { const app = window.jupyterapp;
            await app.commands.execute('apputils:change-theme', {theme: 'JupyterLab ' + theme});
            await app.shell.currentWidget.sessionContext.ready;
            if (run) await app.commands.execute('notebook:run-all-cells') }""",
            [theme, run],
        )
        bad = page.locator(PROBLEMS)
        assert problems or bad.count() == 0, bad.first.inner_text()
        return page

    yield open_and_run
    page.close()
    for session in json.loads(api("GET", "sessions")):  # or the next test gets this kernel, and
        api("DELETE", f"sessions/{session['id']}")  # the last one outlives the server


@pytest.fixture
def shot(request, tmp_path):
    """`shot(page_or_locator, name)` takes a picture, kept with --shots DIR."""
    folder = Path(request.config.getoption("--shots") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    return lambda target, name: target.screenshot(path=folder / f"{name}.png")


@pytest.fixture
def shots(request, shot):
    """`shots(page, name)` takes a whole notebook, screen by screen; only with --shots."""

    def take(target, name):
        if not request.config.getoption("--shots"):
            return
        if not hasattr(target, "set_viewport_size"):
            shot(target, name)
            return
        target.set_viewport_size({"width": 1100, "height": 1600})
        view = target.locator(".jp-NotebookPanel-notebook .jp-WindowedPanel-outer").first
        height, seen = view.evaluate("v => [v.scrollHeight, v.clientHeight]")
        for i in range(-(-height // seen)):
            view.evaluate("(v, top) => { v.scrollTop = top }", i * seen)
            target.wait_for_timeout(200)
            shot(target, f"{name}_{i:02}")

    return take
