"""Run the shop on this machine: `python examples/django_shop`."""

import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
# Run by its path, Python has only this folder on its path.
sys.path.insert(0, str(FOLDER.parents[1]))

from examples.launch import Example, Program, free_port, launch  # noqa: E402 - only found with the line above

PYTHON = sys.executable


def main() -> None:
    """Start the broker, make the tables and a login, then run worker and web server."""
    port = free_port(8000)
    address = f"127.0.0.1:{port}"
    manage = [PYTHON, "manage.py"]
    celery = [PYTHON, "-m", "celery", "-A", "shop"]
    launch(
        Example(
            folder=FOLDER,
            broker_variable="CELERY_BROKER_URL",
            environment={
                "DJANGO_SETTINGS_MODULE": "shop.settings",
                "DJANGO_DEBUG": "1",
                "PYTHONPATH": str(FOLDER.parents[1]),
            },
            preparations=[[*manage, "migrate", "--verbosity", "0"], [*manage, "make_demo_login"]],
            programs=[
                Program(name="worker", command=[*celery, "worker", "-l", "WARNING", "-c", "2"]),
                Program(name="web", command=[*manage, "runserver", "--noreload", address]),
            ],
            url=f"http://{address}/healthz",
            welcome=f"Order something:  http://{address}/\nHelp a run:       http://{address}/admin/  (demo, demo)",
        )
    )


if __name__ == "__main__":
    main()
