"""Base models by digest."""

from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from app.db.models import BaseModelRow


def base_model_by_digest(session: Session, digest: str) -> BaseModelRow | None:
    statement = select(BaseModelRow).where(BaseModelRow.digest == digest)
    return session.scalars(statement.options(joinedload(BaseModelRow.created_by))).one_or_none()
