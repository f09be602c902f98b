"""The base of all tables: constraint names, column types, and the marks of a table's rights."""

from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar, Final

from sqlalchemy import CheckConstraint, DateTime, Double, Enum, MetaData, Text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import DeclarativeBase, MappedAsDataclass

# Rows of a table with this mark are never updated or deleted. A trigger of its migration refuses
# UPDATE, DELETE and TRUNCATE for every role, and the service role is not granted them.
APPEND_ONLY: Final = {"append_only": True}

# Rows of a table with this mark may be deleted, and the service role is granted DELETE.
DISPOSABLE: Final = {"disposable": True}


class Base(MappedAsDataclass, DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        str: Text,
        datetime: DateTime(timezone=True),
        dict[str, Any]: JSONB,
        list[str]: ARRAY(Text),
        list[float]: ARRAY(Double),
    }


def one_of(values: type[StrEnum]) -> Enum:
    """Return a column type that stores an enumeration's values as text with a CHECK."""
    return Enum(
        values,
        name=values.__name__.lower(),
        native_enum=False,
        create_constraint=True,
        length=32,
        values_callable=lambda members: [member.value for member in members],
    )


def is_digest(column: str) -> CheckConstraint:
    """Return a CHECK that `column` holds `sha256:` and 64 hex digits."""
    return CheckConstraint(f"{column} ~ '^sha256:[0-9a-f]{{64}}$'", name=f"{column}_is_digest")
