"""The shop's jobs: plain functions, as an RQ worker runs them. Nothing here knows Tikkun."""

import time

from rq import get_current_job


class Declined(Exception):
    """The bank has said no."""


def send_receipt(order):
    print(f"writing the receipt of order {order}")
    return f"receipt of order {order} sent"


def charge_card(order):
    """Fails each time; how often it is tried is for those to say who enqueue it."""
    raise Declined(f"the bank declines order {order}")


def import_products(count):
    """Says how far it is: a bar on the shop's page, and on Tikkun's."""
    job = get_current_job()
    for done in range(1, count + 1):
        time.sleep(0.1)
        job.meta["progress"] = {"done": done, "total": count}
        job.save_meta()
    return f"{count} products imported"


def remind(order):
    return f"reminded of order {order}"
