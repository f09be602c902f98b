"""The operating system user that runs PostgreSQL, which refuses to run as root."""

import os
import pwd
import subprocess
from dataclasses import dataclass
from pathlib import Path

from app.local.folder import LocalServerError

UNPRIVILEGED = "nobody"


@dataclass(frozen=True, slots=True)
class Account:
    """A user of the operating system, with a single group."""

    uid: int
    gid: int


def owning_account(folder: Path) -> Account | None:
    """Return the user to run a server as that stores its data in `folder`; None is our own user.

    If we are root, that is the owner of the folder. A folder owned by root is first given to
    `nobody`.
    """
    if os.geteuid() != 0:
        return None
    if folder.stat().st_uid == 0:
        nobody = pwd.getpwnam(UNPRIVILEGED)
        os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    owner = folder.stat()
    return Account(owner.st_uid, owner.st_gid)


def require_entry(account: Account | None, *folders: Path) -> None:
    """Require that the account can enter each folder, and therefore all its parents.

    Raises:
        LocalServerError: It cannot; the message names the outermost folder that it cannot enter.
    """
    if account is None:
        return
    for folder in folders:
        if not can_enter(account, folder):
            _refuse(account, folder)


def _refuse(account: Account, folder: Path) -> None:
    outermost_first = [*reversed(folder.parents), folder]
    closed = next(parent for parent in outermost_first if not can_enter(account, parent))
    raise LocalServerError(
        f"PostgreSQL refuses to run as root, so it runs as the user {_name(account)}, who cannot"
        f" enter {closed}, a parent of {folder}: run `chmod o+x {closed}`, use a folder elsewhere,"
        " or start as a user other than root."
    )


def _name(account: Account) -> str:
    try:
        return pwd.getpwuid(account.uid).pw_name
    except KeyError:
        return str(account.uid)


def can_enter(account: Account, folder: Path) -> bool:
    """Whether the account can enter the folder, and therefore all its parents."""
    # Try it: mode bits do not show ACLs, mounts or security modules.
    probe = subprocess.run(  # noqa: S603 - our own command
        ["/bin/sh", "-c", 'cd -- "$1"', "sh", str(folder)],
        user=account.uid,
        group=account.gid,
        extra_groups=[],
        cwd="/",
        stderr=subprocess.DEVNULL,
        check=False,
    )
    return probe.returncode == 0
