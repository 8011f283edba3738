"""The web application's side, as SQLAlchemy makes and uses it.

    application.py make URL            creates all tables
    application.py request URL TENANT  inserts the row of a deletion; prints its id
    application.py read URL JOB        prints the row as the application reads it, as JSON
    application.py save URL JOB ROW    writes all columns of a row that was read before, as JSON
"""
import datetime as dt
import json
import sys

from sqlalchemy import (JSON, Boolean, CheckConstraint, Date, DateTime, ForeignKey, Index, Integer, Numeric,
                        String, Text, create_engine, text)
from sqlalchemy.orm import DeclarativeBase, Session, mapped_column, relationship


def utcnow():
    return dt.datetime.now(dt.timezone.utc).replace(tzinfo=None)


class Base(DeclarativeBase):
    pass


class Business(Base):
    __tablename__ = "businesses"
    id = mapped_column(Integer, primary_key=True)
    name = mapped_column(String(255), nullable=False)


class BackgroundJob(Base):
    __tablename__ = "background_jobs"
    id = mapped_column(Integer, primary_key=True)
    business_id = mapped_column(Integer, ForeignKey("businesses.id", ondelete="CASCADE"), nullable=False)
    requested_by_user_id = mapped_column(Integer)
    job_type = mapped_column(String(64), nullable=False)
    status = mapped_column(String(32), nullable=False, default="queued", server_default="queued")
    total = mapped_column(Integer, default=0)
    processed = mapped_column(Integer, default=0)
    succeeded = mapped_column(Integer, default=0)
    failed_count = mapped_column(Integer, default=0)
    last_error = mapped_column(Text)
    cursor = mapped_column(Text)
    created_at = mapped_column(DateTime, default=utcnow)
    updated_at = mapped_column(DateTime, default=utcnow, onupdate=utcnow)
    started_at = mapped_column(DateTime)
    finished_at = mapped_column(DateTime)
    heartbeat_at = mapped_column(DateTime)
    __table_args__ = (
        CheckConstraint("status IN ('queued', 'running', 'paused', 'completed', 'failed', 'cancelled')",
                        name="chk_job_status"),
        Index("idx_background_jobs_unique_active", "business_id", "job_type", unique=True,
              postgresql_where=text("status IN ('queued', 'running', 'paused')")),
        Index("idx_background_jobs_business_type_status", "business_id", "job_type", "status"),
        Index("idx_background_jobs_created_at", "created_at"),
    )


class Attachment(Base):
    __tablename__ = "attachments"
    id = mapped_column(Integer, primary_key=True)
    business_id = mapped_column(Integer, ForeignKey("businesses.id", ondelete="CASCADE"), nullable=False, index=True)
    filename_original = mapped_column(String(255))
    mime_type = mapped_column(String(100))
    file_size = mapped_column(Integer)
    storage_path = mapped_column(String(512), index=True)
    purpose = mapped_column(String(50))
    origin_module = mapped_column(String(50))
    is_deleted = mapped_column(Boolean, default=False, server_default=text("false"), nullable=False)
    deleted_at = mapped_column(DateTime)
    created_at = mapped_column(DateTime, default=utcnow)
    updated_at = mapped_column(DateTime, onupdate=utcnow)


class Receipt(Base):
    __tablename__ = "receipts"
    id = mapped_column(Integer, primary_key=True)
    business_id = mapped_column(Integer, ForeignKey("businesses.id", ondelete="CASCADE"), nullable=False)
    source = mapped_column(String(32), nullable=False, server_default="gmail")
    gmail_message_id = mapped_column(String(255))
    vendor_name = mapped_column(String(255))
    amount = mapped_column(Numeric(12, 2))
    currency = mapped_column(String(3), server_default="ILS")
    invoice_number = mapped_column(String(100))
    invoice_date = mapped_column(Date)
    status = mapped_column(String(32), server_default="pending_review")
    attachment_id = mapped_column(Integer, ForeignKey("attachments.id", ondelete="SET NULL"), index=True)
    preview_attachment_id = mapped_column(Integer, ForeignKey("attachments.id", ondelete="SET NULL"), index=True)
    is_deleted = mapped_column(Boolean, default=False, server_default=text("false"), nullable=False)
    deleted_at = mapped_column(DateTime)
    received_at = mapped_column(DateTime)
    created_at = mapped_column(DateTime, default=utcnow)
    updated_at = mapped_column(DateTime, onupdate=utcnow)
    raw_extraction = mapped_column(JSON)
    attachment = relationship(Attachment, foreign_keys=[attachment_id])
    __table_args__ = (
        CheckConstraint("amount IS NULL OR amount >= 0", name="chk_receipt_amount"),
        Index("uq_receipts_gmail_message", "business_id", "gmail_message_id", unique=True),
        Index("idx_receipts_business", "business_id", "id"),
    )


class Contract(Base):
    """A table that a deletion of receipts knows nothing of."""
    __tablename__ = "contracts"
    id = mapped_column(Integer, primary_key=True)
    document_id = mapped_column(Integer, ForeignKey("attachments.id"), index=True)


def main(command, url, *arguments):
    engine = create_engine(url)
    if command == "make":
        Base.metadata.create_all(engine)
        return
    with Session(engine) as session:
        if command == "request":
            job = BackgroundJob(business_id=int(arguments[0]), requested_by_user_id=5,
                                job_type="delete_receipts_all", status="queued")
            session.add(job)
            session.commit()
            print(job.id)
        elif command == "read":
            job = session.get(BackgroundJob, int(arguments[0]))
            print(json.dumps({column.name: getattr(job, column.name) for column in BackgroundJob.__table__.columns},
                             default=lambda value: value.isoformat()))
        elif command == "save":
            job = session.get(BackgroundJob, int(arguments[0]))
            for column, value in json.loads(arguments[1]).items():
                is_time = column.endswith("_at") and value is not None
                setattr(job, column, dt.datetime.fromisoformat(value) if is_time else value)
            session.commit()
        else:
            sys.exit(f"no such command: {command}")


if __name__ == "__main__":
    main(*sys.argv[1:])
