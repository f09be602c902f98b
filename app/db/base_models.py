"""Base models by digest and by name."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from app.db.models import BaseModelRow


def base_model_by_digest(session: Session, digest: str) -> BaseModelRow | None:
    statement = select(BaseModelRow).where(BaseModelRow.digest == digest)
    return session.scalars(statement.options(joinedload(BaseModelRow.created_by))).one_or_none()


def base_models_named(
    session: Session, name: str, revision: str | None = None
) -> Sequence[BaseModelRow]:
    """Return the base models of a name, and of a revision if one is given."""
    statement = select(BaseModelRow).where(BaseModelRow.name == name)
    if revision is not None:
        statement = statement.where(BaseModelRow.revision == revision)
    return session.scalars(statement.order_by(BaseModelRow.digest).limit(100)).all()
