"""The metrics for Prometheus."""

import os
import subprocess
import sys

from prometheus_client.parser import text_string_to_metric_families


def samples(text, name):
    return {
        tuple(sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name
    }


def count(client, endpoint, status="200"):
    labels = (("endpoint", endpoint), ("method", "GET"), ("status", status))
    found = samples(client.get("/metrics").text, "registry_request_seconds_count")
    return found.get(labels, 0)


def test_requests_are_counted_by_endpoint_and_not_by_path(world):
    world.a_version()
    endpoint = "api.versions.version"
    before = count(world.client, endpoint), count(world.client, endpoint, "404")

    world.call("GET", f"{world.path}/versions/1", by="publisher")
    world.call("GET", f"{world.path}/versions/2", by="publisher")

    after = count(world.client, endpoint), count(world.client, endpoint, "404")
    assert (after[0] - before[0], after[1] - before[1]) == (1, 1)
    assert world.namespace not in world.client.get("/metrics").text


def test_a_path_without_endpoint_is_counted_as_none(client):
    before = count(client, "none", "404")
    client.get("/nowhere/at/all")
    assert count(client, "none", "404") == before + 1


def test_workers_report_metrics_for_each_other(tmp_path):
    """Two processes count into one folder, and a third one reports the sum."""
    environment = os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    code = "from app.http.metrics import DAMAGED_OBJECTS; DAMAGED_OBJECTS.inc()"
    for _ in range(2):
        subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    show = "from app.http.metrics import exposition; print(exposition().decode())"
    shown = subprocess.run(
        [sys.executable, "-c", show], env=environment, check=True, capture_output=True, text=True
    )
    assert samples(shown.stdout, "registry_damaged_objects_total") == {(): 2.0}
