"""Which user runs a server that refuses to run as root."""

import os
import pwd
import subprocess
from dataclasses import dataclass
from pathlib import Path

from app.local.folder import LocalServerError

UNPRIVILEGED = "nobody"


@dataclass(frozen=True, slots=True)
class Account:
    """A user of the operating system, with its only group."""

    uid: int
    gid: int


def owning_account(folder: Path) -> Account | None:
    """Return the user to run a server with the data in `folder` as: None is ourselves.

    For root that is the owner of the folder, and a folder of root's is first given to `nobody`.
    """
    if os.geteuid() != 0:
        return None
    if folder.stat().st_uid == 0:
        nobody = pwd.getpwnam(UNPRIVILEGED)
        os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    owner = folder.stat()
    return Account(owner.st_uid, owner.st_gid)


def require_entry(account: Account | None, *folders: Path) -> None:
    """Raise unless the account can enter each folder, which all its parents have to allow.

    Raises:
        LocalServerError: It cannot; the message names the outermost folder that is closed.
    """
    if account is None:
        return
    for folder in folders:
        if not enters(account, folder):
            _refuse(account, folder)


def _refuse(account: Account, folder: Path) -> None:
    outermost_first = [*reversed(folder.parents), folder]
    closed = next(each for each in outermost_first if not enters(account, each))
    raise LocalServerError(
        f"PostgreSQL refuses to run as root, and the user {_name(account)}, which it runs"
        f" as instead, cannot enter {closed} on the way to {folder}:"
        f" run `chmod o+x {closed}`, use a folder elsewhere, or start as another user than root."
    )


def _name(account: Account) -> str:
    try:
        return pwd.getpwuid(account.uid).pw_name
    except KeyError:
        return str(account.uid)


def enters(account: Account, folder: Path) -> bool:
    """Whether the account can enter the folder, which all its parents have to allow."""
    # Asked of the kernel: mode bits alone know nothing of ACLs, mounts or security modules.
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
