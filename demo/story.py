"""The acts of the demo, one after the other."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from demo import audit, evidence, gate, policy, pull, push, release, show, train
from demo.client import Document, Registry
from demo.train import Base, Trained
from demo.training import Recipe

# Pages worth a look at the end, below /admin: the history, and the refused comparison.
PAGES: Final = (
    f"prefixes/{push.PREFIX}",
    f"prefixes/{push.PREFIX}/versions/2/gate/production",
)


@dataclass(frozen=True, slots=True)
class Scene:
    """The running registry, the base model that it knows, and a folder for files."""

    registry: Registry
    base: Base
    base_digest: str
    folder: Path


def tell(registry: Registry, folder: Path) -> None:
    """Play all acts; trained and pulled files stay in `folder`.

    Raises:
        DemoFailedError: An act did not end as it must.
    """
    with show.act("PEFT trains a prefix on a frozen base model"):
        base = train.make_base(folder / "base")
        trained = train.make_prefix(base, train.FIRST, folder / "version-1")
        train.show_answers(base, trained)
    with show.act("The base model is registered by its digest, the prefix is pushed"):
        scene = Scene(registry, base, push.register_base(registry, base), folder)
        push.create_prefix(registry)
        version = push.push(registry, base, scene.base_digest, trained)
        push.show_tensor(version)
    with show.act("A suite, a policy and a channel state the demands of production"):
        policy.guard_production(registry, base)
    _pass_the_gate(scene, version, trained)
    _serve(scene, trained)
    _compare(scene)
    _move(scene)
    with show.act("The audit log is verified offline"):
        audit.verify_offline(registry, folder)
        audit.tell(registry)


def _pass_the_gate(scene: Scene, version: Document, trained: Trained) -> None:
    registry = scene.registry
    with show.act("The gate refuses a short evaluation"):
        gate.refuse_short_evaluation(registry, version, trained)
    with show.act("More samples, everybody, and a control run of the bare base model"):
        gate.add_samples_and_control_run(registry, version, scene.base, scene.base_digest, trained)
        gate.show_pool(registry, version)
    with show.act("The gate passes, and two people approve"):
        body = release.wanted(version["number"])
        promotion = release.request(registry, body, shown="at_least")
        release.refuse_the_author(registry, promotion)
        release.approve(registry, promotion, release.APPROVERS)


def _serve(scene: Scene, trained: Trained) -> None:
    pulled = scene.folder / "pulled"
    with show.act("A serving fleet resolves, pulls and verifies"):
        resolved = pull.resolve(scene.registry, scene.base_digest)
        pull.pull(scene.registry, resolved, pulled)
        pull.run_pulled(scene.base, trained, pulled)
        pull.flip_a_byte_and_restore(scene.registry, resolved)


def _candidate(scene: Scene, recipe: Recipe, name: str) -> Document:
    """Train a prefix, push it and record its samples; return the version."""
    trained = train.make_prefix(scene.base, recipe, scene.folder / name)
    version = push.push(scene.registry, scene.base, scene.base_digest, trained)
    evidence.record(scene.registry, version, trained.samples)
    show.say(f"Recorded {len(trained.samples):,} samples, on the same prompts as version 1.")
    return version


def _compare(scene: Scene) -> None:
    with show.act("Version 2 keeps every limit, and is refused: the incumbent is better"):
        share = train.OFF_BRAND.off_brand
        show.say(f"Its training data was not cleaned: {share:.0%} of the answers are off brand.")
        gate.refuse_by_comparison(scene.registry, _candidate(scene, train.OFF_BRAND, "version-2"))


def _move(scene: Scene) -> None:
    registry, digest = scene.registry, scene.base_digest
    first, third = "version 1", "version 3"
    with show.act("Version 3 is no worse than the incumbent, and gets a fifth of the traffic"):
        version = _candidate(scene, train.LONGER, "version-3")
        before = release.served(registry, digest, "release of version 1", first)
        body = release.wanted(version["number"], weight=release.CANARY, rest=1)
        promotion = release.request(registry, body, shown="incumbent")
        release.approve(registry, promotion, release.APPROVERS[:1])
        split = release.served(registry, digest, "split with version 3", first, third)
        show.served([before, split])
    with show.act("A rollback, a release to everybody, and a revocation"):
        release.roll_back(registry, before.generation, "Complaints; we look into them.")
        rows = [split, release.served(registry, digest, "rollback", first)]
        promotion = release.request(registry, release.wanted(version["number"]))
        release.approve(registry, promotion, release.APPROVERS)
        rows.append(release.served(registry, digest, "release of version 3", third))
        release.revoke(registry, version["number"], "Its training data held a customer's name.")
        rows.append(release.served(registry, digest, "revocation", release.REVOKED))
        release.refuse_the_revoked(registry, version["number"], rows[-2].generation)
        reason = "Version 1 serves until version 4 is trained."
        release.roll_back(registry, before.generation, reason)
        show.served([*rows, release.served(registry, digest, "rollback", first)])
