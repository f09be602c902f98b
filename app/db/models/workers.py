"""The table of worker leases: the processes that serve from caches."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger
from sqlalchemy.orm import Mapped, mapped_column

from app.db.models.base import DISPOSABLE, Base


class WorkerLease(Base):
    """A process that may serve from its cache; `confirmed` is the last barrier it confirmed."""

    __tablename__ = "worker_lease"
    __table_args__ = ({"info": DISPOSABLE},)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    confirmed: Mapped[int] = mapped_column(BigInteger)
    proved_at: Mapped[datetime]
