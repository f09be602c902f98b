#!/usr/bin/env bash
# For machines that cannot pull images: runs a command against a separate Docker daemon, which holds
# stand-ins for the images that docker/Dockerfile and docker-compose.yml name, about 10 GB for some
# minutes. Run it as root, on Debian:
#
#   apt-get install --no-install-recommends debootstrap docker.io docker-compose
#   TORCH_BACKEND= docker/standins.sh make containers
#
# DEBIAN=bookworm takes the Python of another Debian release than trixie. WHEELS=DIRECTORY prefers
# wheels on the disk, such as PyTorch's CPU build for that Python.
#
# This tests the project's files, and its image on Debian's Python. It does not test the official
# images.
set -euo pipefail
cd "$(dirname "$0")/.."

place=$(mktemp -d)
export DOCKER_HOST=unix://$place/docker.sock DOCKER_BUILDKIT=0

clean_up() {
    [ $? -eq 0 ] || tail -n 20 "$place"/*.log >&2 || true
    [ ! -s "$place/dockerd.pid" ] || kill "$(cat "$place/dockerd.pid")"
    wait
    findmnt --raw --noheadings --output TARGET | grep "^$place/" | tac \
        | xargs --no-run-if-empty umount || true
    rm -rf --one-file-system "$place"
}
trap clean_up EXIT

image_named() { # the tag in the project's files, so that a new one needs no change here
    grep -hoE "(image:|^FROM) *(\\$\{[A-Z_]+:-)?$1[^ }]*" docker-compose.yml docker/Dockerfile |
        head -n 1 | grep -oE "$1[^ }]*$"
}

import() { # ROOT IMAGE CHANGE...
    local root=$1 image=$2 change changes=()
    shift 2
    for change in "$@"; do changes+=(--change "$change"); done
    tar -C "$root" -c . | docker import "${changes[@]}" - "$image" >"$place/import.log"
}

a_debian() { # ROOT SUITE PACKAGES
    debootstrap --variant=minbase --include="ca-certificates,$3" "$2" "$1" >"$place/debootstrap.log"
    mkdir -p "$1/usr/local/share/ca-certificates"
    cp /usr/local/share/ca-certificates/*.crt "$1/usr/local/share/ca-certificates/" 2>/dev/null || true
    TMPDIR=/tmp chroot "$1" update-ca-certificates >"$place/certificates.log" 2>&1
}

dockerd --iptables=false --ip6tables=false --ip-forward=false --bridge=none \
    --storage-driver=overlay2 --data-root "$place/data" --exec-root "$place/exec" \
    --pidfile "$place/dockerd.pid" --host "$DOCKER_HOST" \
    --default-ulimit nofile=20000:20000 >"$place/dockerd.log" 2>&1 &
timeout 60 sh -c 'until docker info >/dev/null 2>&1; do sleep 1; done'

echo "Making the stand-in for Python"
a_debian "$place/python" "${DEBIAN-trixie}" python3,python3-pip,python3-venv
ln -s /usr/bin/python3 "$place/python/usr/local/bin/python"
rm -f "$place"/python/usr/lib/python3.*/EXTERNALLY-MANAGED
mkdir "$place/python/opt/wheels"
[ -z "${WHEELS-}" ] || cp "$WHEELS"/*.whl "$place/python/opt/wheels/"
certificates=/etc/ssl/certs/ca-certificates.crt
import "$place/python" "$(image_named python)" 'CMD ["python3"]' 'ENV UV_FIND_LINKS=/opt/wheels' \
    "ENV SSL_CERT_FILE=$certificates PIP_CERT=$certificates NODE_EXTRA_CA_CERTS=$certificates"
rm -r "$place/python/opt/wheels"

echo "Making the stand-in for MinIO"
cp "$(PATH=$PWD/.venv/bin:$PATH command -v weed)" "$place/python/usr/local/bin/weed"
cat >"$place/python/usr/local/bin/minio" <<'END'
#!/bin/sh
# minio server /data
umask 077
cat >/run/s3.json <<KEYS
{"identities": [{"name": "root", "actions": ["Admin", "Read", "Write", "List", "Tagging"],
 "credentials": [{"accessKey": "$MINIO_ROOT_USER", "secretKey": "$MINIO_ROOT_PASSWORD"}]}]}
KEYS
WEED_MASTER_VOLUME_GROWTH_COPY_1=1 exec weed -logtostderr=true server -dir="$2" -ip=127.0.0.1 \
    -ip.bind=0.0.0.0 -master.telemetry=false -master.electionTimeout=1s \
    -master.heartbeatInterval=100ms -master.volumeSizeLimitMB=256 -volume.max=1000 \
    -volume.preStopSeconds=0 -filer -filer.disableHttp -s3 -s3.port=9000 -s3.port.iceberg=0 \
    -s3.port.lance=0 -s3.autoCreateBucket=false -s3.config=/run/s3.json
END
cat >"$place/python/usr/local/bin/mc" <<'END'
#!/usr/bin/python3
# mc ready local
import urllib.error, urllib.request
assert b"fid" in urllib.request.urlopen("http://127.0.0.1:9333/dir/assign").read()
try:
    urllib.request.urlopen("http://127.0.0.1:9000")
except urllib.error.HTTPError:  # the store refuses an unsigned request
    pass
END
chmod +x "$place"/python/usr/local/bin/{minio,mc}
import "$place/python" "$(image_named minio/minio)" 'ENTRYPOINT ["minio"]' 'VOLUME /data'

echo "Making the stand-in for PostgreSQL"
a_debian "$place/postgres" trixie postgresql
cat >"$place/postgres/usr/local/bin/entrypoint" <<'END'
#!/bin/bash
set -e
PATH=$PATH:$(echo /usr/lib/postgresql/*/bin) PGDATA=/var/lib/postgresql/standin
export PATH PGDATA
if [ "$(id -u)" = 0 ]; then
    chown postgres: /var/lib/postgresql
    exec setpriv --reuid postgres --regid postgres --init-groups "$0" "$@"
fi
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    initdb --pwfile=<(echo "$POSTGRES_PASSWORD") --auth-host=scram-sha-256 $POSTGRES_INITDB_ARGS
    echo 'host all all all scram-sha-256' >>"$PGDATA/pg_hba.conf"
    pg_ctl --wait --options='-c listen_addresses=' start
    for script in /docker-entrypoint-initdb.d/*.sql; do psql -v ON_ERROR_STOP=1 -f "$script"; done
    pg_ctl --wait stop
fi
exec postgres -c listen_addresses='*'
END
chmod +x "$place/postgres/usr/local/bin/entrypoint"
import "$place/postgres" "$(image_named postgres)" 'ENTRYPOINT ["entrypoint"]' \
    'VOLUME /var/lib/postgresql'

echo "Building the image"
docker build --network host --build-arg TORCH_BACKEND="${TORCH_BACKEND-cpu}" \
    --file docker/Dockerfile --tag "$(image_named prefix-registry)" . >"$place/build.log"

# `docker compose` here is Debian's Compose 1.29, which builds on no network and knows no `name:`.
mkdir "$place/bin"
cat >"$place/bin/docker" <<END
#!/bin/sh
[ "\$1" = compose ] || exec /usr/bin/docker "\$@"
shift
sed '/^name:/d' docker-compose.yml >"$place/compose.yml"
exec docker-compose --file "$place/compose.yml" --project-directory . "\$@"
END
chmod +x "$place/bin/docker"
PATH=$place/bin:$PATH "$@"
