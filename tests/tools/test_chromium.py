"""The search for a browser, and the installation of one where there is none."""

import pytest

from tests.support.session import chromium


@pytest.fixture
def debian(monkeypatch):
    """A Debian without a browser: the packages that it has, and the commands that ran."""
    packages, ran, installed = set(), [], set()

    def run(*command, **_):
        ran.append(command)
        if command[:2] == ("apt-get", "install") and command[-1] in packages:
            installed.add(command[-1])

    monkeypatch.setattr(chromium, "run", run)
    monkeypatch.setattr(chromium, "found", lambda: min(installed, default=None))
    monkeypatch.setattr(chromium.os, "geteuid", lambda: 0)
    monkeypatch.setattr(chromium.shutil, "which", lambda name: f"/usr/bin/{name}")
    return packages, ran


def asked_for(ran):
    return [command[-1] for command in ran if "install" in command]


def test_the_headless_shell_is_found_before_a_whole_browser(monkeypatch):
    monkeypatch.delenv("CHROMIUM", raising=False)
    monkeypatch.setattr(chromium.shutil, "which", lambda name: f"/usr/bin/{name}")

    assert chromium.found() == "/usr/bin/chromium-headless-shell"


def test_a_whole_browser_on_the_path_is_enough(monkeypatch):
    monkeypatch.delenv("CHROMIUM", raising=False)
    monkeypatch.setattr(chromium.shutil, "which", {"chromium": "/usr/bin/chromium"}.get)

    assert chromium.found() == "/usr/bin/chromium"


def test_a_named_browser_is_the_only_one_that_counts(monkeypatch, tmp_path):
    program = tmp_path / "browser"
    monkeypatch.setenv("CHROMIUM", str(program))
    assert chromium.found() is None

    program.touch()
    assert chromium.found() == str(program)


def test_the_headless_shell_is_installed_where_debian_has_it(debian):
    packages, ran = debian
    packages |= {"chromium-headless-shell", "chromium"}

    assert chromium.require() == "chromium-headless-shell"
    assert ran[0][:2] == ("apt-get", "update")
    assert asked_for(ran) == ["chromium-headless-shell"]


def test_a_whole_browser_is_installed_where_debian_has_no_headless_shell(debian):
    packages, ran = debian
    packages.add("chromium")

    assert chromium.require() == "chromium"
    assert asked_for(ran) == ["chromium-headless-shell", "chromium"]


def test_without_root_the_browser_of_playwright_is_downloaded(debian, monkeypatch):
    _, ran = debian
    monkeypatch.setattr(chromium.os, "geteuid", lambda: 1000)

    with pytest.raises(chromium.NoBrowserError, match="set CHROMIUM"):
        chromium.require()
    assert [command[1:] for command in ran] == [("-m", "playwright", "install", "chromium")]
