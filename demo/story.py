"""The story, step by step."""

from pathlib import Path

from demo import audit, pull, push, release, show, train
from demo.client import Document, Registry
from demo.train import Made


def tell(registry: Registry, folder: Path) -> None:
    """Tell it all, with what is trained and pulled kept in `folder`.

    Raises:
        DemoFailedError: Something did not go as told.
    """
    show.good(f"It answers at {registry.http.base_url}.")

    show.step("A prefix is trained on a frozen base model, with PEFT")
    made = train.make(folder)

    show.step("The base model is registered by its digest, the prefix is pushed")
    base_digest = push.register_base(registry, made)
    push.create_prefix(registry)
    version = push.push(registry, made, base_digest)

    show.step("A suite, a policy and a channel say what production demands")
    release.guard_production(registry, made)

    _release(registry, made, version)
    _serve(registry, made, base_digest, folder / "pulled")

    show.step("The audit log tells what happened, and verifies")
    audit.verify_and_tell(registry)


def _release(registry: Registry, made: Made, version: Document) -> None:
    show.step("An evaluation that misses upset customers is not enough")
    missed = [cell for cell in made.cells if cell.persona == "upset"]
    release.evaluate(registry, version, [cell for cell in made.cells if cell not in missed])
    release.be_refused_by_the_gate(registry)

    show.step("The rest is measured, and two people approve")
    release.evaluate(registry, version, missed)
    promotion = release.request(registry)
    release.approve(registry, promotion)


def _serve(registry: Registry, made: Made, base_digest: str, folder: Path) -> None:
    show.step("A serving fleet resolves the channel and pulls")
    resolved = pull.resolve(registry, base_digest)
    pull.pull(registry, resolved, folder)
    pull.run_pulled(made, folder)

    show.step("A flipped byte is noticed")
    pull.flip_a_byte_and_restore(registry, resolved)
